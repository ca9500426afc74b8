//! The output filter over streams: every channel, every cut, and nothing changed where nothing
//! was found.

use crate::scripted::Scripted;
use crate::world::{World, json, read, scripted, streaming};
use proptest::prelude::*;
use ringfence_gateway::config::GuardConfig;
use ringfence_gateway::upstream::Engine;
use serde_json::{Value, json as value};

// RINGFENCE-TEST-FIXTURE: the card number of every card brand's own test page.
const CARD: &str = "4111 1111 1111 1111";
const SAYS: &str = "The number is 4111 1111 1111 1111, keep it.";
const REDACTED: &str = "The number is [REDACTED:card], keep it.";
const SSE: &str = "text/event-stream";
const NDJSON: &str = "application/x-ndjson";

fn event(frame: &Value) -> String {
    format!("data: {frame}\n\n")
}

fn delta(index: u64, delta: &Value) -> String {
    event(
        &value!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": index, "delta": delta, "finish_reason": null}]}),
    )
}

fn stop(index: u64) -> String {
    event(
        &value!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]}),
    )
}

/// The frames of an answer whose text is cut at one octet.
fn openai(field: &Field, cut: usize) -> String {
    let (first, second) = SAYS.split_at(cut);
    let mut stream = delta(0, &value!({"role": "assistant"}));
    stream.push_str(&delta(0, &field.0(first)));
    stream.push_str(&delta(0, &field.0(second)));
    stream.push_str(&stop(0));
    stream.push_str("data: [DONE]\n\n");
    stream
}

struct Field(fn(&str) -> Value, fn(&Value) -> String);

/// Every channel an answer has, how it is written and how a client reads it.
fn fields() -> Vec<(&'static str, Field)> {
    fn at(frame: &Value, pointer: &str) -> String {
        frame
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }
    vec![
        (
            "content",
            Field(|t| value!({"content": t}), |d| at(d, "/content")),
        ),
        (
            "reasoning_content",
            Field(
                |t| value!({"reasoning_content": t}),
                |d| at(d, "/reasoning_content"),
            ),
        ),
        (
            "reasoning",
            Field(|t| value!({"reasoning": t}), |d| at(d, "/reasoning")),
        ),
        (
            "refusal",
            Field(|t| value!({"refusal": t}), |d| at(d, "/refusal")),
        ),
        (
            "unheard-of",
            Field(|t| value!({"novel": {"text": t}}), |d| at(d, "/novel/text")),
        ),
        (
            "tool arguments",
            Field(
                |t| {
                    value!({"tool_calls": [{"index": 1, "id": "x", "type": "function",
                    "function": {"arguments": t}}]})
                },
                |d| at(d, "/tool_calls/0/function/arguments"),
            ),
        ),
    ]
}

async fn through(
    guard: GuardConfig,
    kind: &str,
    pieces: &[&[u8]],
    ollama: bool,
) -> (String, World) {
    let server = Scripted::streaming(kind, pieces).await;
    let engine = if ollama {
        Engine::Ollama
    } else {
        Engine::OpenAi
    };
    let world = World::new(guard, scripted(engine, &server));
    let path = if ollama {
        "/api/chat"
    } else {
        "/v1/chat/completions"
    };
    let (status, text) = read(world.send("POST", path, &streaming("hello")).await).await;
    assert_eq!(status, 200, "{text}");
    (text, world)
}

/// What a client makes of the frames: the text of a channel, and whether the end came.
fn heard(stream: &str, field: &Field) -> (String, bool) {
    let mut text = String::new();
    let mut finished = false;
    for block in stream.split("\n\n").filter(|b| !b.is_empty()) {
        let data = block
            .strip_prefix("data: ")
            .unwrap_or_else(|| panic!("{block:?}"));
        if data == "[DONE]" {
            assert!(finished, "[DONE] before the finish frame");
            return (text, true);
        }
        let frame = json(data);
        if let Some(choice) = frame.pointer("/choices/0") {
            let said = field.1(&choice["delta"]);
            assert!(
                said.is_empty() || !finished,
                "text after the finish frame: {stream}"
            );
            text.push_str(&said);
            finished |= !choice["finish_reason"].is_null();
        }
    }
    (text, false)
}

#[tokio::test]
async fn personal_data_cut_anywhere_is_redacted_in_every_channel_and_leaks_with_the_guard_off() {
    for (name, field) in fields() {
        for cut in 1..SAYS.len() {
            let stream = openai(&field, cut);
            let (text, world) =
                through(GuardConfig::default(), SSE, &[stream.as_bytes()], false).await;
            assert_eq!(
                heard(&text, &field),
                (REDACTED.to_owned(), true),
                "{name} cut at {cut}"
            );
            let leaf = world.leaves.wait(1).await.remove(0);
            assert_eq!(
                leaf.detail["redactions"],
                1_i64.into(),
                "{name} cut at {cut}"
            );
        }
        let stream = openai(&field, 20);
        let (text, _) = through(GuardConfig::off(), SSE, &[stream.as_bytes()], false).await;
        assert_eq!(text, stream);
        assert!(heard(&text, &field).0.contains(CARD));
    }
}

#[tokio::test]
async fn personal_data_at_the_very_end_is_flushed_redacted_before_the_finish_frame() {
    let field = &fields()[0].1;
    for says in ["It is 4111 1111 1111 1111", "write to ada@example.org"] {
        let mut stream = String::new();
        for c in says.chars() {
            stream.push_str(&delta(0, &value!({"content": c.to_string()})));
        }
        // An engine may put the last text into the finish frame itself.
        stream.push_str(&event(&value!({"id": "c1", "choices": [
            {"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}]})));
        stream.push_str("data: [DONE]\n\n");
        let (text, _) = through(GuardConfig::default(), SSE, &[stream.as_bytes()], false).await;
        let (said, done) = heard(&text, field);
        assert!(
            done && said.contains("[REDACTED:") && !said.contains('1') && !said.contains('@'),
            "{said}"
        );
    }
}

#[tokio::test]
async fn choices_are_filtered_apart_however_they_interleave() {
    let mut stream = String::new();
    for c in SAYS.chars() {
        for index in [1, 0] {
            stream.push_str(&delta(index, &value!({"content": c.to_string()})));
        }
    }
    stream.push_str(&stop(1));
    stream.push_str(&stop(0));
    stream.push_str("data: [DONE]\n\n");
    let (text, _) = through(GuardConfig::default(), SSE, &[stream.as_bytes()], false).await;
    let mut said = [String::new(), String::new()];
    for block in text.split("\n\n").filter_map(|b| b.strip_prefix("data: {")) {
        let choice = &json(&format!("{{{block}"))["choices"][0];
        let index = usize::from(choice["index"] == 1);
        said[index].push_str(choice["delta"]["content"].as_str().unwrap_or_default());
    }
    assert_eq!(said, [REDACTED, REDACTED]);
}

#[tokio::test]
async fn ollamas_channels_are_filtered_for_every_cut_and_leak_with_the_guard_off() {
    type Form = (&'static str, fn(&str, bool) -> Value);
    let forms: [Form; 3] = [
        ("/message/content", |t, done| {
            value!({"model": "m", "created_at": "t", "done": done,
            "message": {"role": "assistant", "content": t}})
        }),
        ("/message/thinking", |t, done| {
            value!({"model": "m", "created_at": "t", "done": done,
            "message": {"role": "assistant", "content": "", "thinking": t}})
        }),
        ("/response", |t, done| {
            value!({"model": "m", "created_at": "t", "done": done,
            "response": t, "context": if done { value!([1, 2, 3]) } else { Value::Null }})
        }),
    ];
    for (pointer, form) in forms {
        for cut in 1..SAYS.len() {
            let (first, second) = SAYS.split_at(cut);
            let lines = format!(
                "{}\n{}\n{}\n",
                form(first, false),
                form(second, false),
                form("", true)
            );
            let (text, _) =
                through(GuardConfig::default(), NDJSON, &[lines.as_bytes()], true).await;
            let read: Vec<Value> = text.lines().map(json).collect();
            let said: String = read
                .iter()
                .filter_map(|l| l.pointer(pointer)?.as_str())
                .collect();
            assert_eq!(said, REDACTED, "{pointer} cut at {cut}");
            let last = read.last().unwrap();
            assert_eq!(last["done"], true);
            assert!(
                last.get("context").is_none(),
                "the context carries what was redacted"
            );
            let (text, _) = through(GuardConfig::off(), NDJSON, &[lines.as_bytes()], true).await;
            assert_eq!(text, lines);
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_streamed_is_filtered_in_every_channel() {
    let answer = value!({"choices": [{"index": 0, "finish_reason": "tool_calls",
        "logprobs": {"content": [{"token": "4111", "logprob": 0}]},
        "message": {"role": "assistant", "content": SAYS, "reasoning_content": SAYS,
            "tool_calls": [{"id": "x", "type": "function", "function": {"name": SAYS,
                "arguments": format!("{{\"n\":\"{CARD}\"}}")}}]}}]});
    let server = Scripted::answering(&answer.to_string()).await;
    let world = World::new(GuardConfig::default(), scripted(Engine::OpenAi, &server));
    let (status, text) = world
        .ask("POST", "/v1/chat/completions", &crate::world::chat("hello"))
        .await;
    assert_eq!(status, 200);
    assert!(!text.contains("4111"), "{text}");
    assert_eq!(text.matches("[REDACTED:card]").count(), 4, "{text}");
    let off = World::new(GuardConfig::off(), scripted(Engine::OpenAi, &server));
    let (_, text) = off
        .ask("POST", "/v1/chat/completions", &crate::world::chat("hello"))
        .await;
    assert_eq!(text, answer.to_string());
}

#[tokio::test]
async fn ollamas_parsed_tool_arguments_are_filtered_names_and_numbers_too() {
    let line = value!({"model": "m", "done": true, "message": {"role": "assistant", "content": "",
        "tool_calls": [{"function": {"name": "f", "arguments":
            {"card": CARD, CARD: 1, "n": 4_111_111_111_111_111_u64, "id": CARD}}}]}});
    let lines = format!("{line}\n");
    let (text, _) = through(GuardConfig::default(), NDJSON, &[lines.as_bytes()], true).await;
    assert!(!text.contains("4111"), "{text}");
}

const CLEAN: &str = "data: {\"id\":\"c1\",  \"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n\
: keep-alive\n\n\
data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"H\\u0065llo, w\u{f6}rld! \"},\"finish_reason\":null}]}\r\n\r\n\
data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"All is well. \"},\"finish_reason\":null}]}\n\n\
data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7}}\n\n\
data: [DONE]\n\n";

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn where_nothing_is_found_the_octets_are_the_upstreams_however_they_are_cut(
        mut cuts in prop::collection::vec(0..CLEAN.len(), 0..8)
    ) {
        cuts.sort_unstable();
        let octets = CLEAN.as_bytes();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts {
            pieces.push(&octets[start..cut]);
            start = cut;
        }
        pieces.push(&octets[start..]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (text, world) = through(GuardConfig::default(), SSE, &pieces, false).await;
            assert_eq!(text, CLEAN);
            let leaf = world.leaves.wait(1).await.remove(0);
            assert_eq!(leaf.detail["tokens_out"], 7_i64.into());
            assert_eq!(leaf.detail["tokens_source"], "engine".into());
        });
    }
}
