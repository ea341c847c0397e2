//! Fields of the API's types, as a table that reads like the types themselves. `?` marks a field that may be missing
//! or null, `[]` a list, `{}` a map by name; a capital letter names another type.

use serde_json::{Map, Value, json};

/// Type, and its fields with their kinds.
type Row = (&'static str, &'static [(&'static str, &'static str)]);

const TYPES: &[Row] = &[
    (
        "Problem",
        &[
            ("type", "string"),
            ("title", "string"),
            ("status", "integer"),
            ("detail", "string"),
            ("help", "string?"),
            ("errors", "string[]?"),
        ],
    ),
    ("Login", &[("name", "string"), ("password", "string")]),
    ("Session", &[("token", "string"), ("expires_at", "time")]),
    ("WhoAmI", &[("name", "string"), ("role", "string")]),
    ("IncidentSummary", INCIDENT_SUMMARY),
    (
        "PlanView",
        &[
            ("digest", "digest"),
            ("incident", "integer"),
            ("host", "string"),
            ("playbook", "string"),
            ("version", "integer"),
            ("title", "string"),
            ("risk", "string"),
            ("attempt", "integer"),
            ("parameters", "string{}"),
            ("steps", "StepView[]"),
            ("verify", "string[]"),
            ("soak_s", "integer"),
            ("proposed_at", "string"),
            ("expires_at", "string"),
            ("required_approvals", "integer"),
            ("decisions", "Decision[]"),
            ("approved_until", "string?"),
            ("state", "string"),
            ("record", "SopRecord"),
            ("budget", "Budget?"),
            ("dry_run", "DryRunView?"),
            ("plan", "any?"),
        ],
    ),
    ("BacktestBody", &[("since_s", "integer"), ("playbooks", "string[]?"), ("policy", "string?")]),
    (
        "BacktestView",
        &[
            ("since", "time"),
            ("until", "time"),
            ("rows", "BacktestRow[]"),
            ("left_out", "integer"),
            ("would", "integer{}"),
            ("brakes", "integer{}"),
            ("chosen_otherwise", "integer"),
            ("automatic_runs", "integer"),
        ],
    ),
    (
        "BacktestRow",
        &[
            ("incident", "integer"),
            ("at", "time"),
            ("host", "string"),
            ("kind", "string"),
            ("subject", "string"),
            ("then_playbook", "string?"),
            ("then", "string"),
            ("playbook", "string?"),
            ("would", "string"),
            ("brake", "string?"),
            ("reason", "string"),
            ("after_ms", "integer?"),
            ("runs", "integer"),
        ],
    ),
    (
        "DryRunView",
        &[
            ("plan", "digest"),
            ("asked_by", "string"),
            ("asked_at", "time"),
            ("state", "string"),
            ("looked_at", "time?"),
            ("reason", "string?"),
            ("against", "string?"),
            ("steps", "DryRunStepView[]"),
            ("verify", "AskedView[]"),
        ],
    ),
    (
        "DryRunStepView",
        &[("sentence", "string"), ("require", "AskedView[]"), ("would", "string[]"), ("cannot", "string?")],
    ),
    ("AskedView", &[("check", "string"), ("holds", "boolean?"), ("detail", "string")]),
    (
        "StepView",
        &[
            ("name", "string"),
            ("sentence", "string"),
            ("action", "any"),
            ("require", "string[]"),
            ("expect", "string[]"),
            ("undo", "string"),
            ("irreversible", "boolean"),
            ("timeout_s", "integer"),
        ],
    ),
    (
        "SopRecord",
        &[
            ("runs", "integer"),
            ("resolved", "integer"),
            ("rolled_back", "integer"),
            ("parked", "integer"),
            ("refused", "integer"),
            ("under_way", "integer"),
        ],
    ),
    (
        "Budget",
        &[
            ("tries_left", "integer"),
            ("tries_max", "integer"),
            ("hour_left", "integer"),
            ("hour_max", "integer"),
            ("playbook_left", "integer"),
            ("playbook_max", "integer"),
            ("overall_left", "integer"),
            ("overall_max", "integer"),
        ],
    ),
    (
        "Decision",
        &[
            ("by", "string"),
            ("vote", "string"),
            ("plan", "digest"),
            ("at", "integer"),
            ("reason", "string"),
            ("signature", "string?"),
        ],
    ),
    (
        "RunView",
        &[
            ("run", "digest"),
            ("host", "string"),
            ("incident", "integer?"),
            ("playbook", "string?"),
            ("title", "string?"),
            ("state", "string"),
            ("steps", "StepView[]"),
            ("verify", "string[]"),
            ("soak_s", "integer"),
            ("records", "RunRecordView[]"),
            ("end", "any?"),
            ("cancel_requested", "string?"),
            ("live", "LiveView?"),
        ],
    ),
    ("LiveView", &[("step", "integer"), ("text", "string"), ("before", "integer"), ("through", "integer")]),
    (
        "ProblemView",
        &[
            ("id", "integer"),
            ("number", "string"),
            ("title", "string"),
            ("state", "string"),
            ("host", "string"),
            ("subject", "string"),
            ("kind", "string"),
            ("fingerprint", "digest"),
            ("opened_at", "time"),
            ("why", "string"),
            ("incidents", "integer[]"),
            ("more_incidents", "integer"),
            ("closed", "ProblemClosedView?"),
        ],
    ),
    ("ProblemClosedView", &[("at", "time"), ("by", "string"), ("root_cause", "string")]),
    ("WithRootCause", &[("root_cause", "string")]),
    (
        "RunRecordView",
        &[
            ("at", "time"),
            ("record", "string"),
            ("step", "integer?"),
            ("sentence", "string"),
            ("what", "any?"),
        ],
    ),
    ("TimelineEntry", &[("at", "time"), ("by", "string"), ("text", "string")]),
    ("Evidence", &[("title", "string"), ("text", "string")]),
    ("Reason", &[("speaks_for", "boolean"), ("text", "string")]),
    (
        "Candidate",
        &[
            ("playbook", "string"),
            ("version", "integer"),
            ("matches", "boolean"),
            ("priority", "integer"),
            ("reasons", "Reason[]"),
        ],
    ),
    ("DecisionBody", &[("reason", "string?"), ("signature", "string?")]),
    ("WithReason", &[("reason", "string")]),
    (
        "PlaybookView",
        &[
            ("id", "string"),
            ("version", "integer"),
            ("title", "string"),
            ("risk", "string"),
            ("digest", "digest"),
            ("signer", "string"),
            ("text", "string"),
            ("signature", "string"),
            ("trust", "TrustView[]"),
        ],
    ),
    (
        "TrustView",
        &[
            ("environment", "string"),
            ("stage", "string"),
            ("count", "integer"),
            ("runs", "integer"),
            ("since", "time?"),
            ("reason", "string"),
        ],
    ),
    ("SignedText", &[("text", "string"), ("signature", "string")]),
    (
        "HostView",
        &[
            ("host", "string"),
            ("state", "string"),
            ("epoch", "integer"),
            ("enrolled_at", "time"),
            ("last_seen", "time?"),
            ("agent_version", "string?"),
            ("facts", "string{}"),
            ("open_incidents", "integer"),
            ("declarations", "string[]"),
            ("items_lost", "integer"),
        ],
    ),
    (
        "InspectionView",
        &[
            ("host", "string"),
            ("day", "string"),
            ("days", "string[]"),
            ("made_at", "time"),
            ("complete", "boolean"),
            ("left_out", "integer"),
            ("checks", "InspectedView[]"),
        ],
    ),
    (
        "InspectedView",
        &[
            ("check", "string"),
            ("kind", "string"),
            ("schedule", "string"),
            ("verdict", "string"),
            ("line", "string"),
            ("runs", "integer"),
            ("warnings", "integer"),
            ("criticals", "integer"),
            ("unknowns", "integer"),
            ("missed", "integer"),
            ("since", "time?"),
            ("last_at", "time?"),
        ],
    ),
    ("JoinTokenBody", &[("host", "string?"), ("valid_s", "integer?")]),
    (
        "JoinToken",
        &[("token", "string"), ("expires_at", "time"), ("ca_sha256", "digest"), ("command", "string")],
    ),
    ("Automation", &[("stopped", "boolean"), ("by", "string?"), ("reason", "string?"), ("since", "time?")]),
    (
        "BudgetRow",
        &[
            ("of", "string"),
            ("name", "string?"),
            ("host", "string?"),
            ("under_way", "integer?"),
            ("at_once", "integer?"),
            ("hour_used", "integer"),
            ("hour_max", "integer"),
        ],
    ),
    (
        "PersonBody",
        &[("name", "string?"), ("role", "string?"), ("password", "string?"), ("disabled", "boolean?")],
    ),
    ("TokenBody", &[("name", "string"), ("valid_s", "integer?")]),
    ("NewToken", &[("id", "string"), ("token", "string"), ("expires_at", "time?")]),
    (
        "TokenRow",
        &[
            ("id", "string"),
            ("name", "string"),
            ("created_at", "time"),
            ("expires_at", "time?"),
            ("revoked", "boolean"),
        ],
    ),
    (
        "AuditEntry",
        &[
            ("seq", "integer"),
            ("at", "time"),
            ("at_ms", "integer"),
            ("prev", "digest"),
            ("hash", "digest"),
            ("body", "string"),
            ("left_out", "boolean"),
        ],
    ),
    ("Change", &[("seq", "integer"), ("event", "string"), ("incident", "integer?"), ("run", "digest?")]),
];

const INCIDENT_SUMMARY: &[(&str, &str)] = &[
    ("id", "integer"),
    ("number", "string"),
    ("title", "string"),
    ("host", "string"),
    ("subject", "string"),
    ("kind", "string"),
    ("priority", "string"),
    ("phase", "string"),
    ("status", "string"),
    ("opened_at", "time"),
    ("signals", "integer"),
    ("playbook", "string?"),
    ("plan", "digest?"),
    ("needs_decision", "boolean"),
];

/// What an incident has beside its summary.
const INCIDENT_DETAIL: &[(&str, &str)] = &[
    ("rule", "string"),
    ("severity", "string"),
    ("priority_reason", "string"),
    ("cleared", "boolean"),
    ("fields", "string{}"),
    ("evidence", "Evidence[]"),
    ("candidates", "Candidate[]"),
    ("why_not", "string?"),
    ("diagnosis", "DryRunView?"),
    ("stands_for", "integer[]"),
    ("plan_view", "PlanView?"),
    ("problem", "integer?"),
    ("runs", "RunView[]"),
    ("timeline", "TimelineEntry[]"),
];

const PAGES: &[&str] = &[
    "IncidentSummary",
    "ProblemView",
    "RunView",
    "PlaybookView",
    "HostView",
    "PersonBody",
    "TokenRow",
    "AuditEntry",
];

/// Returns all schemas by name.
pub fn schemas() -> Map<String, Value> {
    let mut schemas: Map<String, Value> =
        TYPES.iter().map(|(name, fields)| ((*name).to_owned(), object(fields.iter()))).collect();
    schemas.insert("IncidentView".into(), object(INCIDENT_SUMMARY.iter().chain(INCIDENT_DETAIL)));
    for name in PAGES {
        let items = json!({ "type": "array", "items": kind(name) });
        let page = json!({
            "type": "object",
            "properties": { "items": items, "next": { "type": ["string", "null"] } },
            "required": ["items"],
        });
        schemas.insert(format!("PageOf{name}"), page);
    }
    schemas
}

fn object<'a>(fields: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, of) in fields {
        properties.insert((*name).to_owned(), kind(of));
        if !of.ends_with('?') {
            required.push(json!(name));
        }
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

fn kind(of: &str) -> Value {
    if let Some(of) = of.strip_suffix('?') {
        let mut schema = kind(of);
        match schema.get("type").cloned() {
            Some(Value::String(one)) => schema["type"] = json!([one, "null"]),
            _ if of != "any" => return json!({ "anyOf": [schema, { "type": "null" }] }),
            _ => {}
        }
        return schema;
    }
    if let Some(of) = of.strip_suffix("[]") {
        return json!({ "type": "array", "items": kind(of) });
    }
    if let Some(of) = of.strip_suffix("{}") {
        return json!({ "type": "object", "additionalProperties": kind(of) });
    }
    match of {
        "any" => json!({}),
        "time" => json!({ "type": "string", "format": "date-time" }),
        "digest" => json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }),
        "string" | "integer" | "boolean" => json!({ "type": of }),
        name => json!({ "$ref": format!("#/components/schemas/{name}") }),
    }
}
