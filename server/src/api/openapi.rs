//! The API's own description, OpenAPI 3.1, built from the route table and a table of the types' fields, so that
//! neither can drift: a test compares it with the golden file `openapi.json` and with real values.

use crate::problem::Fault;
use crate::routes::{Door, Face, Need, Route, table};
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

mod schemas;

pub use schemas::schemas;

pub fn routes() -> Vec<Route> {
    vec![
        Route::api(Method::GET, "/api/v1/openapi.json", Need::Nobody, show)
            .about("Returns this description of the API"),
    ]
}

async fn show() -> Result<Response, Fault> {
    Ok(([(header::CONTENT_TYPE, "application/json")], text()).into_response())
}

/// Returns the description as text, as the golden file has it.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// Returns the description.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in table().iter().filter(|r| r.door == Door::Operator && r.face == Face::Api) {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sopwith",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Times are RFC 3339 in UTC. Errors are problem details (RFC 9457). POSTs take an \
                            Idempotency-Key, kept for a day. Fields are only ever added.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": "__Host-sopwith" }
            }
        }
    })
}

fn operation(route: &Route) -> Value {
    let needs = match route.need {
        Need::Nobody => "Anybody.".to_owned(),
        Need::Agent => "A managed host.".to_owned(),
        Need::Role(role) => format!("Needs the role {role}."),
    };
    let answer = match route.gives {
        Some(name) => {
            json!({ "description": "Done", "content": { "application/json": { "schema": reference(name) } } })
        }
        None => json!({ "description": "Done" }),
    };
    let problem = json!({ "description": "Refused", "content": { "application/problem+json": { "schema": reference("Problem") } } });
    let mut operation = json!({
        "summary": route.about,
        "description": needs,
        "operationId": id(route),
        "responses": { "2XX": answer, "4XX": problem.clone(), "5XX": problem },
        "security": match route.need {
            Need::Nobody => json!([]),
            _ => json!([{ "bearer": [] }, { "session": [] }]),
        },
    });
    let parameters = parameters(route);
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if let Some(name) = route.takes {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": reference(name) } } });
    }
    operation
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn id(route: &Route) -> String {
    let words =
        route.path.split(['/', '-', '.']).filter(|word| !word.is_empty() && !["api", "v1"].contains(word));
    let words: Vec<String> = words.map(|word| word.trim_matches(['{', '}']).to_owned()).collect();
    format!("{}_{}", route.method.as_str().to_lowercase(), words.join("_"))
}

fn parameters(route: &Route) -> Vec<Value> {
    let text = json!({ "type": "string" });
    let given = |place: &str, name: &str, required: bool, schema: Value| json!({ "in": place, "name": name, "required": required, "schema": schema });
    let named = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = named.map(|name| given("path", name, true, text.clone())).collect();
    if route.gives.is_some_and(|name| name.starts_with("PageOf")) {
        parameters.push(given(
            "query",
            "limit",
            false,
            json!({ "type": "integer", "minimum": 1, "maximum": 1000 }),
        ));
        parameters.push(given("query", "after", false, text.clone()));
    }
    if route.path.ends_with("/inspection") {
        parameters.push(given("query", "date", false, json!({ "type": "string", "format": "date" })));
    }
    if route.path == "/api/v1/incidents" {
        parameters.push(given("query", "open", false, json!({ "type": "boolean" })));
    }
    if route.path.ends_with("/approve") || route.path.ends_with("/deny") {
        parameters.push(given("header", "If-Match", true, text.clone()));
    }
    if route.method == Method::POST && matches!(route.need, Need::Role(_)) {
        parameters.push(given(
            "header",
            "Idempotency-Key",
            false,
            json!({ "type": "string", "maxLength": 128 }),
        ));
    }
    parameters
}
