//! Round trips, poison, and the examples of every topic.

use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use proptest::prelude::*;

use super::decode::MAX_KNOWN;
use super::*;
use crate::event::{AdBytes, ListenerRequest};
use crate::id::{AccountId, PodcastId};
use crate::time::Micros;
use crate::topic::{TOPICS, Topic};

fn request(n: usize) -> ListenerRequest {
    ListenerRequest {
        event_id: format!("event-{n}"),
        account_id: AccountId::from_uuid(uuid::Uuid::from_u128(7)),
        occurred_at: Micros(1_764_000_000_000_000 + i64::try_from(n).unwrap()),
        recorded_at: Micros(1_764_000_001_000_000),
        revision: 0,
        podcast_id: PodcastId::from_uuid(uuid::Uuid::from_u128(9)),
        enclosure_url: "https://cdn.example.com/1.mp3".to_owned(),
        method: "GET".to_owned(),
        status: 206,
        range: Some("bytes=0-99".to_owned()),
        bytes_sent: Some(100),
        file_bytes: None,
        user_agent: Some("Overcast/1".to_owned()),
        network: "other".to_owned(),
        network_version: "v1".to_owned(),
        referer: None,
        country: None,
        listener: [1; 16],
        household: [2; 16],
        listener_previous: n.is_multiple_of(2).then_some([3; 16]),
        safe_listed: false,
        source: "api".to_owned(),
        ads: vec![AdBytes { placement_id: "pre".to_owned(), from_byte: 0, to_byte: 10 }],
    }
}

fn decoder() -> BatchDecoder {
    let mut decoder = BatchDecoder::new(Topic::ListenerRequests).unwrap();
    decoder.learn(5, Some(Topic::ListenerRequests.spec().schema));
    decoder.learn(0, None);
    decoder.learn(6, None);
    decoder
}

#[test]
fn an_event_comes_back_as_a_row() {
    let encoder = Encoder::new(Topic::ListenerRequests, 5).unwrap();
    let values: Vec<_> = (0..3).map(|n| encoder.encode(&request(n)).unwrap()).collect();
    let decoded = decoder().decode(&values).unwrap();
    assert_eq!(decoded.rows, [0, 1, 2]);
    let column = |name: &str| decoded.batch.column_by_name(name).unwrap();
    assert_eq!(column("event_id").as_string::<i32>().value(2), "event-2");
    assert_eq!(column("occurred_at").as_primitive::<TimestampMicrosecondType>().value(1), 1_764_000_000_000_001);
    assert_eq!(column("listener").as_fixed_size_binary().value(0), [1; 16]);
    assert!(column("listener_previous").is_null(1));
    assert_eq!(column("ads").as_list::<i32>().value(0).len(), 1);
}

#[test]
fn an_unloaded_schema_is_asked_for_and_an_unknown_one_is_a_dead_letter() {
    let value = Encoder::new(Topic::ListenerRequests, 77).unwrap().encode(&request(0)).unwrap();
    let mut decoder = decoder();
    assert!(matches!(decoder.decode(&[&value]), Err(DecodeError::UnknownSchema { id: 77 })));
    decoder.learn(77, None);
    assert_eq!(decoder.decode(&[&value]).unwrap().bad[0].reason, DeadReason::Undecodable);
    decoder.learn(77, Some(r#"{"type":"record","name":"ListenerRequest","namespace":"castback.v1","fields":[]}"#));
    assert_eq!(decoder.decode(&[&value]).unwrap().bad[0].reason, DeadReason::Schema);
}

/// Decodes a record of each id, of which the registry knows all but 8; answers how often it was asked.
fn asked(decoder: &mut BatchDecoder, ids: std::ops::RangeInclusive<u32>, schema: &str) -> usize {
    let encoded = |id| Encoder::new(Topic::ListenerRequests, id).unwrap().encode(&request(0)).unwrap();
    let values: Vec<_> = ids.map(encoded).collect();
    for asked in 0..=values.len() {
        match decoder.decode(&values) {
            Err(DecodeError::UnknownSchema { id }) => decoder.learn(id, (id != 8).then_some(schema)),
            decoded => {
                let decoded = decoded.unwrap();
                assert_eq!(decoded.rows.len() + decoded.bad.len(), values.len());
                return asked;
            }
        }
    }
    panic!("an id was asked for twice");
}

#[test]
fn schemas_are_forgotten_beyond_a_bound_but_none_that_the_records_at_hand_name() {
    let large = format!("{}{}", Topic::ListenerRequests.spec().schema, " ".repeat(MAX_KNOWN / 4));
    let mut decoder = BatchDecoder::new(Topic::ListenerRequests).unwrap();
    assert_eq!(asked(&mut decoder, 1..=8, &large), 8, "all are needed at once");
    assert_eq!(asked(&mut decoder, 1..=8, &large), 0);
    assert_eq!(asked(&mut decoder, 9..=9, &large), 1);
    assert_eq!(asked(&mut decoder, 9..=9, &large), 0);
    assert_eq!(asked(&mut decoder, 1..=8, &large), 8, "they were forgotten");
}

/// What a hostile or broken producer may put in a record's place.
fn poison(kind: u8, cut: usize, good: &[u8]) -> Vec<u8> {
    match kind % 6 {
        0 => good[..cut % good.len()].to_vec(),
        1 => [good, good].concat(),
        2 => [good, &[0]].concat(),
        3 => vec![0; cut % 40],
        4 => [&[0, 0, 0, 0, 6], &good[5..]].concat(),
        _ => vec![0; MAX_VALUE + 1],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn poison_in_a_batch_changes_nothing_of_its_neighbours(
        places in proptest::collection::vec(proptest::option::weighted(0.3, (any::<u8>(), any::<usize>())), 1..12)
    ) {
        let encoder = Encoder::new(Topic::ListenerRequests, 5).unwrap();
        let values: Vec<Vec<u8>> = places.iter().enumerate().map(|(n, place)| {
            let good = encoder.encode(&request(n)).unwrap();
            place.map_or(good.clone(), |(kind, cut)| poison(kind, cut, &good))
        }).collect();
        let together = decoder().decode(&values).unwrap();
        let mut rows = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let alone = decoder().decode(&[value]).unwrap();
            prop_assert_eq!(alone.rows.len() + alone.bad.len(), 1);
            if alone.bad.is_empty() {
                let row = together.rows.iter().position(|&r| r == index).unwrap();
                prop_assert_eq!(&alone.batch, &together.batch.slice(row, 1));
                rows.push(index);
            }
        }
        prop_assert_eq!(rows, together.rows);
    }
}

/// A value of `schema` out of the JSON of an example (bytes and hashes as hex).
fn value_of(schema: &Schema, json: &serde_json::Value) -> Value {
    match schema {
        Schema::Union(union) if json.is_null() => Value::Union(0, Box::new(value_of(&union.variants()[0], json))),
        Schema::Union(union) => Value::Union(1, Box::new(value_of(&union.variants()[1], json))),
        Schema::Fixed(_) | Schema::Ref { .. } => Value::Fixed(16, hex::decode(json.as_str().unwrap()).unwrap()),
        Schema::Bytes => Value::Bytes(hex::decode(json.as_str().unwrap()).unwrap()),
        Schema::TimestampMicros => Value::TimestampMicros(json.as_i64().unwrap()),
        Schema::Long => Value::Long(json.as_i64().unwrap()),
        Schema::Int => Value::Int(i32::try_from(json.as_i64().unwrap()).unwrap()),
        Schema::Double => Value::Double(json.as_f64().unwrap()),
        Schema::Boolean => Value::Boolean(json.as_bool().unwrap()),
        Schema::String => Value::String(json.as_str().unwrap().to_owned()),
        Schema::Null => Value::Null,
        Schema::Array(_) => Value::Array(Vec::new()),
        Schema::Map(_) => {
            let entries = json.as_object().unwrap();
            Value::Map(
                entries.iter().map(|(k, v)| (k.clone(), Value::String(v.as_str().unwrap().to_owned()))).collect(),
            )
        }
        Schema::Record(record) => {
            Value::Record(record.fields.iter().map(|f| (f.name.clone(), value_of(&f.schema, &json[&f.name]))).collect())
        }
        other => panic!("no example value for {other:?}"),
    }
}

#[test]
fn every_topic_has_an_example_that_becomes_one_row_and_begins_with_the_envelope() {
    for spec in TOPICS {
        let path = format!("{}/examples/{}.json", env!("CARGO_MANIFEST_DIR"), spec.name);
        let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let schema = Schema::parse_str(spec.schema).unwrap();
        let Schema::Record(record) = &schema else { panic!("{} is no record", spec.name) };
        assert_eq!(record.name.to_string(), format!("castback.v1.{}", spec.record));
        let names: Vec<_> = record.fields.iter().take(5).map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["event_id", "account_id", "occurred_at", "recorded_at", "revision"]);
        let writer = GenericDatumWriter::builder(&schema).build().unwrap();
        let mut value = vec![0, 0, 0, 0, 5];
        writer.write_value(&mut value, value_of(&schema, &json)).unwrap();
        let mut decoder = BatchDecoder::new(spec.topic).unwrap();
        decoder.learn(5, Some(spec.schema));
        let decoded = decoder.decode(&[value]).unwrap();
        assert_eq!((decoded.rows.len(), decoded.bad.len()), (1, 0), "{}", spec.name);
    }
}
