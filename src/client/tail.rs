//! `castback tail`: records of a topic as JSON lines, until Ctrl-C.

use castback_connectors::http::Answer;
use castback_schemas::Topic;

use super::connection::{Connection, good};
use crate::show;

/// Longest event that is put together; a record is at most 1 MB.
const MAX_EVENT: usize = 16 * 1024 * 1024;

/// Shows records as they come.
pub(super) async fn run(connection: &Connection, topic: Topic) -> anyhow::Result<()> {
    let mut stream = connection.http().stream(&format!("/v1/topics/{topic}/records")).await?;
    let head = stream.head();
    if !head.is_success() {
        let body = stream.next().await?.unwrap_or_default();
        return good(&Answer { body, ..head });
    }
    let mut waiting = Vec::new();
    while let Some(piece) = stream.next().await? {
        waiting.extend_from_slice(&piece);
        for data in events(&mut waiting) {
            if !show::line(&data) {
                return Ok(());
            }
        }
        anyhow::ensure!(waiting.len() <= MAX_EVENT, "an event of the stream has no end");
    }
    anyhow::bail!("the server has ended the stream")
}

/// Takes the data of the events that are complete; what is left is the beginning of the next.
fn events(waiting: &mut Vec<u8>) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(end) = waiting.windows(2).position(|pair| pair == b"\n\n") {
        let event: Vec<u8> = waiting.drain(..end + 2).collect();
        let text = String::from_utf8_lossy(&event);
        let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).collect();
        if !data.is_empty() {
            found.push(data.join("\n"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_whole_wherever_they_are_cut() {
        let whole = b":keep-alive\n\nevent: record\ndata: {\"a\":1}\n\ndata: {\"b\":2}\n\n";
        for cut in 0..whole.len() {
            let mut waiting = whole[..cut].to_vec();
            let mut found = events(&mut waiting);
            waiting.extend_from_slice(&whole[cut..]);
            found.extend(events(&mut waiting));
            assert_eq!(found, ["{\"a\":1}", "{\"b\":2}"], "cut at {cut}");
            assert!(waiting.is_empty());
        }
    }
}
