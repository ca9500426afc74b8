//! The `OpenAPI` 3.1 description of the control API, made from the table of routes.

use super::{ROUTES, Route};
use serde_json::{Map, Value, json};

/// The whole description.
pub fn openapi() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let entry = paths
            .entry(route.path.to_owned())
            .or_insert_with(|| json!({}));
        if let Some(methods) = entry.as_object_mut() {
            methods.insert(route.method.to_lowercase(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ringfence control API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Served on the Unix socket of the state directory, to its owner and root."
        },
        "paths": paths,
    })
}

fn operation(route: &Route) -> Value {
    let parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    json!({
        "operationId": format!("{:?}", route.operation),
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "done"},
            "default": {"description": "an error with code, what, why and help"}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_with_its_parameters() {
        let description = openapi();
        for route in ROUTES {
            let operation = &description["paths"][route.path][route.method.to_lowercase()];
            assert!(operation["summary"].is_string(), "{}", route.path);
            let wanted = route.path.matches('{').count();
            assert_eq!(
                operation["parameters"].as_array().map(Vec::len),
                Some(wanted)
            );
        }
    }
}
