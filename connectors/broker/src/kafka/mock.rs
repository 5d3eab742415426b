//! The cluster that tests share: making one takes seconds, and one serves all that do not break it.

use std::sync::{LazyLock, Mutex, mpsc};

use castback_schemas::topic::{SLOTS, TOPICS};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::KafkaOptions;

pub(crate) type Cluster = MockCluster<'static, DefaultProducerContext>;

/// Creates all topics, as the library's own cluster cannot be asked to.
pub(crate) fn create_topics(cluster: &Cluster, prefix: &str, partitions: u16) {
    for spec in TOPICS {
        let topic = format!("{prefix}{}", spec.name);
        cluster.create_topic(&topic, i32::from(partitions), 1).unwrap();
    }
}

type Request = (String, mpsc::Sender<KafkaOptions>);

/// A cluster cannot be shared between threads: this one lives on its own, as long as the tests.
static SHARED: LazyLock<Mutex<mpsc::Sender<Request>>> = LazyLock::new(|| {
    let (requests, queue) = mpsc::channel::<Request>();
    std::thread::spawn(move || {
        let cluster = MockCluster::new(1).unwrap();
        for (prefix, reply) in queue {
            create_topics(&cluster, &prefix, SLOTS);
            let brokers = cluster.bootstrap_servers();
            reply.send(KafkaOptions { brokers, prefix, ..KafkaOptions::default() }).unwrap();
        }
    });
    Mutex::new(requests)
});

/// Topics of one's own on the shared cluster.
pub(crate) fn topics(prefix: &str) -> KafkaOptions {
    let (reply, options) = mpsc::channel();
    SHARED.lock().unwrap().send((prefix.to_owned(), reply)).unwrap();
    options.recv().unwrap()
}
