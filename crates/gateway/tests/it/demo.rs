//! The demo engine through the whole pipeline, and how engines are found.

use crate::scripted::{Act, Scripted, plain};
use crate::world::{World, demo_engine, json, streaming};
use ringfence_gateway::config::{GuardConfig, UpstreamConfig};
use ringfence_gateway::demo;
use ringfence_gateway::upstream::{Engine, Upstream, discover, identify};
use serde_json::json as value;
use std::sync::Arc;

#[tokio::test]
async fn plain_and_streamed_answers_say_the_same_and_count_the_same() {
    let world = World::demo(GuardConfig::default());
    let question = "When does the mailer answer letters?";
    let (_, plain) = world
        .ask(
            "POST",
            "/v1/chat/completions",
            &crate::world::chat(question),
        )
        .await;
    let plain = json(&plain);
    let content = plain["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(
        content.starts_with(demo::PREAMBLE) && content.contains("README.md:3"),
        "{content}"
    );

    let request = value!({"model": demo::MODEL, "stream": true,
        "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": question}]});
    let (_, streamed) = world
        .ask("POST", "/v1/chat/completions", &request.to_string())
        .await;
    assert!(streamed.ends_with("data: [DONE]\n\n"));
    let frames: Vec<_> = streamed
        .split("\n\n")
        .filter_map(|b| b.strip_prefix("data: {"))
        .collect();
    let frames: Vec<_> = frames.iter().map(|f| json(&format!("{{{f}"))).collect();
    let said: String = frames
        .iter()
        .filter_map(|f| f.pointer("/choices/0/delta/content")?.as_str())
        .collect();
    assert_eq!(said, content);
    assert_eq!(frames.last().unwrap()["usage"], plain["usage"]);
    let leaves = world.leaves.wait(2).await;
    assert_eq!(leaves[1].detail["model"], demo::MODEL.into());
    assert_eq!(
        leaves[0].detail["tokens_out"],
        leaves[1].detail["tokens_out"]
    );
    assert_eq!(leaves[1].detail["tokens_source"], "engine".into());
}

#[tokio::test]
async fn without_include_usage_no_usage_is_streamed() {
    let world = World::demo(GuardConfig::default());
    let (_, streamed) = world
        .ask("POST", "/v1/chat/completions", &streaming("letters"))
        .await;
    assert!(!streamed.contains("\"usage\""));
}

#[tokio::test]
async fn ollamas_routes_stream_unless_told_not_to() {
    let world = World::demo(GuardConfig::default());
    for (path, pointer) in [
        ("/api/chat", "/message/content"),
        ("/api/generate", "/response"),
    ] {
        let mut request = value!({"model": demo::MODEL, "prompt": "mailer letters",
            "messages": [{"role": "user", "content": "mailer letters"}]});
        let (_, text) = world.ask("POST", path, &request.to_string()).await;
        let lines: Vec<_> = text.lines().map(json).collect();
        let said: String = lines
            .iter()
            .filter_map(|l| l.pointer(pointer)?.as_str())
            .collect();
        request["stream"] = value!(false);
        let (_, whole) = world.ask("POST", path, &request.to_string()).await;
        assert_eq!(json(&whole).pointer(pointer).unwrap(), &said);
        assert!(said.contains("README.md:3"), "{said}");
        assert_eq!(lines.last().unwrap()["done"], true);
        assert!(
            lines.last().unwrap()["eval_count"]
                .as_u64()
                .is_some_and(|n| n > 0)
        );
    }
}

#[tokio::test]
async fn personal_data_in_the_documentation_is_redacted_in_the_answer() {
    let engine = demo::Engine::build(&[(
        "contact.md".to_owned(),
        "Write about billing to ada@example.org, card 4111 1111 1111 1111.\n".to_owned(),
    )]);
    let engine = Arc::new(engine);
    for (guard, leaks) in [(GuardConfig::default(), false), (GuardConfig::off(), true)] {
        let world = World::new(guard, vec![Upstream::demo(Arc::clone(&engine))]);
        let question = streaming("who to write about billing?");
        let (_, text) = world.ask("POST", "/v1/chat/completions", &question).await;
        let said: String = text
            .split("\n\n")
            .filter_map(|b| b.strip_prefix("data: {"))
            .filter_map(|f| {
                let frame = json(&format!("{{{f}"));
                Some(
                    frame
                        .pointer("/choices/0/delta/content")?
                        .as_str()?
                        .to_owned(),
                )
            })
            .collect();
        assert_eq!(
            said.contains("4111 1111") && said.contains("ada@"),
            leaks,
            "{said}"
        );
        assert_eq!(said.contains("[REDACTED:card]"), !leaks, "{said}");
    }
}

#[tokio::test]
async fn an_engine_is_known_by_what_it_says_not_by_its_port() {
    for (content, engine) in [
        (
            r#"{"data":[{"id":"a","owned_by":"vllm"}]}"#,
            Some(Engine::Vllm),
        ),
        (
            r#"{"data":[{"id":"a","owned_by":"llamacpp"}]}"#,
            Some(Engine::LlamaCpp),
        ),
        (
            r#"{"data":[{"id":"a","owned_by":"me"}]}"#,
            Some(Engine::OpenAi),
        ),
        (
            r#"{"version":"0.12.0","models":[{"name":"a"}]}"#,
            Some(Engine::Ollama),
        ),
        (r#"{"hello":1}"#, None),
        ("<html>", None),
    ] {
        let server = Scripted::answering(content).await;
        let found = identify(&server.address).await;
        assert_eq!(found.map(|(engine, _)| engine), engine, "{content}");
    }
    let server = Scripted::start(vec![Act::Send(plain(401, "application/json", "{}"))]).await;
    assert_eq!(identify(&server.address).await, None);
    let server = Scripted::start(vec![Act::Hang]).await;
    assert_eq!(identify(&server.address).await, None);
}

#[tokio::test]
async fn a_configured_address_is_taken_and_its_models_are_learnt() {
    let server = Scripted::answering(r#"{"data":[{"id":"tiny","owned_by":"llamacpp"}]}"#).await;
    let config = UpstreamConfig {
        address: server.address.to_string(),
        ..UpstreamConfig::default()
    };
    let (upstream, tried) = discover(&config, demo_engine()).await.unwrap();
    assert_eq!((upstream.engine(), tried.len()), (Engine::LlamaCpp, 1));
    assert!(upstream.lists("tiny") && !upstream.lists("other"));
    let config = UpstreamConfig {
        address: "demo".to_owned(),
        ..UpstreamConfig::default()
    };
    let (upstream, tried) = discover(&config, demo_engine()).await.unwrap();
    assert_eq!((upstream.engine(), tried.len()), (Engine::Demo, 0));
    let config = UpstreamConfig {
        address: "file:///x".to_owned(),
        ..UpstreamConfig::default()
    };
    assert!(discover(&config, demo_engine()).await.is_err());
}
