//! What of InfluxDB 2 a mirror needs: it keeps lines, and answers the one query that is asked of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use castback_schemas::Micros;
use castback_schemas::time::SECOND;
use castback_store::mirror::{Mirror, MirrorOptions};
use secrecy::SecretString;

/// Values by series with its tags, time in seconds and field.
pub(crate) type Values = BTreeMap<(String, i64, String), i64>;

/// A server on its own thread, until the test ends.
pub(crate) struct Influx {
    port: u16,
    pub(crate) values: Arc<Mutex<Values>>,
    /// Whether it answers 503.
    pub(crate) busy: Arc<AtomicBool>,
}

impl Influx {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (values, busy): (Arc<Mutex<Values>>, Arc<AtomicBool>) = Default::default();
        let (kept, silent) = (Arc::clone(&values), Arc::clone(&busy));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                respond(stream.unwrap(), &kept, silent.load(Ordering::SeqCst));
            }
        });
        Self { port, values, busy }
    }

    pub(crate) fn mirror(&self) -> Mirror {
        let server = format!("http://127.0.0.1:{}/", self.port).parse().unwrap();
        let (bucket, organization) = ("analytics".to_owned(), Some("castback".to_owned()));
        Mirror::new(MirrorOptions { server, bucket, organization, token: Some(SecretString::from("t")) }).unwrap()
    }

    /// The values of a field of a measurement, by time.
    pub(crate) fn field(&self, measurement: &str, field: &str) -> Vec<i64> {
        let values = self.values.lock().unwrap();
        let of = |((series, _, name), value): (&(String, i64, String), &i64)| {
            (series.starts_with(&format!("{measurement},")) && name == field).then_some(*value)
        };
        values.iter().filter_map(of).collect()
    }
}

fn respond(mut stream: TcpStream, values: &Mutex<Values>, busy: bool) {
    let Some((line, body)) = request(&mut stream) else { return };
    let (status, text) = if busy {
        ("503 Service Unavailable\r\nretry-after: 1", String::new())
    } else if line.starts_with("POST /api/v2/write") {
        body.lines().for_each(|line| keep(line, &mut values.lock().unwrap()));
        ("204 No Content", String::new())
    } else if line.starts_with("POST /api/v2/query") {
        ("200 OK", answer(&body, &values.lock().unwrap()))
    } else if line.starts_with("GET /api/v2/orgs") {
        ("200 OK", r#"{"orgs":[{"id":"0000000000000001","name":"castback"}]}"#.to_owned())
    } else {
        let bucket = r#"{"name":"analytics","retentionRules":[{"type":"expire","everySeconds":3456000}]}"#;
        ("200 OK", format!(r#"{{"buckets":[{bucket}]}}"#))
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len());
    // A process that has been stopped does not listen any more.
    drop(std::io::Write::write_all(&mut stream, answer.as_bytes()));
}

fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut read = Vec::new();
    let mut chunk = vec![0; 65_536];
    let end = loop {
        if let Some(end) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut chunk).ok()? {
            0 => return None,
            more => read.extend_from_slice(&chunk[..more]),
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let lower = head.to_lowercase();
    let length = lower
        .split_once("content-length: ")
        .map_or(0, |(_, rest)| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
    while read.len() < end + length {
        match stream.read(&mut chunk).ok()? {
            0 => return None,
            more => read.extend_from_slice(&chunk[..more]),
        }
    }
    let mut body = String::new();
    if lower.contains("content-encoding: gzip") {
        flate2::read::GzDecoder::new(&read[end..]).read_to_string(&mut body).unwrap();
    } else {
        body = String::from_utf8_lossy(&read[end..]).into_owned();
    }
    Some((head.lines().next().unwrap().to_owned(), body))
}

/// `measurement,tag=value field=1i,field=2i seconds`
fn keep(line: &str, values: &mut Values) {
    let mut parts = line.split(' ');
    let (series, fields, time) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    for field in fields.split(',') {
        let (name, value) = field.split_once('=').unwrap();
        let value = value.strip_suffix('i').unwrap().parse().unwrap();
        values.insert((series.to_owned(), time.parse().unwrap(), name.to_owned()), value);
    }
}

/// The hour that a query asks for, as InfluxDB writes it.
fn answer(body: &str, values: &Values) -> String {
    let query: serde_json::Value = serde_json::from_str(body).unwrap();
    let flux = query["query"].as_str().unwrap();
    let between = |before: &str, after: char| {
        let rest = flux.split_once(before).unwrap().1;
        rest.split(after).next().unwrap().to_owned()
    };
    let seconds = |text: String| text.parse::<Micros>().unwrap().0 / SECOND;
    let (start, stop) = (seconds(between("start: ", ',')), seconds(between("stop: ", ')')));
    let measurement = between("_measurement == \"", '"');
    let tags: Vec<String> = flux.split("r[\"").skip(1).map(|part| part.replace("\"] == \"", "=")).collect();
    let tags: Vec<&str> = tags.iter().map(|part| part.split('"').next().unwrap()).collect();
    let mut csv = "#datatype,string,long,long,string,long\r\n#group,false,false,false,false,false\r\n\
                   #default,_result,,,,\r\n,result,table,at,field,value\r\n"
        .to_owned();
    for ((series, time, field), value) in values {
        let wanted = series.starts_with(&format!("{measurement},")) && tags.iter().all(|tag| series.contains(tag));
        if wanted && (start..stop).contains(time) {
            write!(csv, ",,0,{time}000000000,{field},{value}\r\n").unwrap();
        }
    }
    csv + "\r\n"
}
