//! The compose file and the image.

use serde_json::{Map, Value};

use super::{files, folder, yaml};
use crate::support::server::command;

fn services() -> Map<String, Value> {
    yaml(&folder().join("compose.yaml"))["services"].as_object().expect("services").clone()
}

fn is_ours(service: &Value) -> bool {
    service["image"].as_str().is_some_and(|image| image.starts_with("castback:"))
}

#[test]
fn every_file_can_be_read() {
    for path in files(&folder()) {
        match path.extension().and_then(|end| end.to_str()) {
            Some("yaml" | "yml") => drop(yaml(&path)),
            Some("json") => {
                let text = std::fs::read_to_string(&path).expect("a file");
                let read: Result<Value, _> = serde_json::from_str(&text);
                read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
            _ => {}
        }
    }
}

#[test]
fn every_image_is_pinned() {
    let dockerfile = std::fs::read_to_string(folder().join("Dockerfile")).expect("a Dockerfile");
    let bases: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(bases.len(), 2, "it builds in one stage and runs in another");
    let bases = bases.iter().map(|base| base.split(' ').next().unwrap_or_default().to_owned());
    let services = services();
    let images = services.values().map(|service| service["image"].as_str().expect("an image").to_owned());
    for image in bases.chain(images) {
        let version = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no version")).1;
        let dots = version.matches('.').count();
        assert!(dots >= 1 && version.contains(|c: char| c.is_ascii_digit()), "{image} may be another one tomorrow");
    }
}

#[test]
fn what_is_tested_is_what_is_started() {
    let tested = std::fs::read_to_string(folder().join("../tests/servers/kafka.xml")).expect("the tests' broker");
    let (_, broker) = tested.split_once("<artifactId>kafka_2.13</artifactId>").expect("a broker");
    let version = broker.split(['<', '>']).find(|text| text.starts_with(char::is_numeric)).expect("its version");
    let services = services();
    assert_eq!(services["kafka"]["image"], format!("apache/kafka:{version}"));
    let readme = std::fs::read_to_string(folder().join("../README.md")).expect("a README");
    let major = |image: &Value| Some(image.as_str()?.split_once(':')?.1.split_once('.')?.0.to_owned());
    let major = major(&services["postgres"]["image"]).expect("a version");
    assert!(readme.contains(&format!("PostgreSQL {major} (")), "README.md says that another PostgreSQL is tested");
}

#[test]
fn the_image_runs_as_nobody_in_particular_and_says_how_it_is() {
    let dockerfile = std::fs::read_to_string(folder().join("Dockerfile")).expect("a Dockerfile");
    let last = dockerfile.rsplit_once("FROM ").expect("a stage").1;
    for line in ["USER castback", "HEALTHCHECK", "STOPSIGNAL SIGTERM", "ENTRYPOINT [\"castback\"]"] {
        assert!(last.contains(line), "no {line}");
    }
    assert!(last.find("USER castback") < last.find("ENTRYPOINT"), "it starts as root");
}

#[test]
fn every_setting_is_one_and_every_role_runs() {
    let help = command().args(["serve", "--help"]).output().expect("the binary runs");
    let help = String::from_utf8(help.stdout).expect("text");
    let known: Vec<&str> = help.lines().map(str::trim).collect();
    let mut roles = Vec::new();
    for (name, service) in services().iter().filter(|(_, service)| is_ours(service)) {
        let settings = service["environment"].as_object().expect("settings");
        for setting in settings.keys() {
            assert!(known.contains(&setting.as_str()), "{name}: {setting} is no setting");
        }
        let words: Vec<&str> =
            service["command"].as_array().expect("a command").iter().filter_map(Value::as_str).collect();
        let role = words.iter().position(|word| *word == "--roles").map(|at| words[at + 1]);
        roles.push(role.expect("a role").to_owned());
        assert!(service["healthcheck"]["test"].is_array(), "{name} has no health check");
        let listens = words.contains(&"--listen");
        assert_eq!(listens, ["api", "ingest"].contains(&role.unwrap_or_default()), "{name}: who answers listens");
    }
    roles.sort();
    assert_eq!(roles, ["agents", "api", "ingest", "process"]);
}

#[test]
fn containers_share_their_objects_and_nothing_else() {
    let services = services();
    for (name, service) in services.iter().filter(|(_, service)| is_ours(service)) {
        let volumes: Vec<&str> =
            service["volumes"].as_array().expect("volumes").iter().filter_map(Value::as_str).collect();
        let (shared, own): (Vec<&str>, Vec<&str>) = volumes.into_iter().partition(|volume| volume.contains(':'));
        assert_eq!(shared, ["objects:/var/lib/castback/objects"], "{name}");
        let words: Vec<&str> =
            service["command"].as_array().expect("a command").iter().filter_map(Value::as_str).collect();
        let data = words.iter().position(|word| *word == "--data").map(|at| words[at + 1]).expect("a directory");
        assert!(own.iter().any(|own| data.starts_with(own)), "{name}: two of it would share {data}");
        assert!(!data.starts_with("/var/lib/castback/objects"), "{name}");
    }
    let ignored = std::fs::read_to_string(folder().join("Dockerfile.dockerignore")).expect("a list");
    assert!(ignored.lines().any(|line| line == "docker/.env"), "secrets go into the image's build");
}

#[test]
fn a_process_takes_the_settings_as_they_are_written() {
    let settings = services()["process"]["environment"].as_object().expect("settings").clone();
    let data = tempfile::tempdir().expect("a folder");
    let key = data.path().join("key");
    std::fs::write(&key, "ab".repeat(32)).expect("a key");
    let mut check = command();
    check.args(["check", "--roles", "process", "--data"]).arg(data.path().join("data"));
    for (name, value) in &settings {
        let value = value.as_str().expect("a text").replace("${POSTGRES_PASSWORD:?see README.md}", "secret");
        check.env(name, value.replace("${INFLUX_TOKEN:?see README.md}", "secret"));
    }
    let objects = format!("file://{}", data.path().join("objects").display());
    // Nobody of that name is here: what can't be reached is said, what is written wrongly would end it with code 2.
    check.env("KAFKA_BROKERS", "127.0.0.1:1").env("DATABASE_URL", "postgresql://castback:secret@127.0.0.1:1/castback");
    check.env("TIMESERIES_DB_URL", "influxdb://127.0.0.1:1/castback").env("METRICS_LISTEN", "127.0.0.1:0");
    check.env("SECRET_KEY_FILE", &key).env("OBJECT_STORE_URL", objects);
    let checked = check.output().expect("the binary runs");
    let words = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{words}{}", String::from_utf8_lossy(&checked.stderr));
    assert!(words.contains("FAILED TIMESERIES_DB_URL") && words.contains("ok     OBJECT_STORE_URL"), "{words}");
    assert!(!words.contains("secret@"), "a password is shown: {words}");
}

#[test]
fn what_is_mounted_is_there_and_every_service_is_depended_on_by_name() {
    let services = services();
    for (name, service) in &services {
        for volume in service["volumes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let source = volume.split(':').next().unwrap_or_default();
            if let Some(path) = source.strip_prefix("./") {
                assert!(folder().join(path).exists(), "{name} mounts {source}, which isn't there");
            }
        }
        for wanted in service["depends_on"].as_object().into_iter().flatten().map(|(wanted, _)| wanted) {
            let healthy = services.get(wanted).is_some_and(|service| service["healthcheck"]["test"].is_array());
            assert!(healthy, "{name} waits for {wanted}, which never says that it is well");
        }
    }
}
