//! `docs/openapi.json`, which holds what is seen to what it says, and remembers what was seen.

use std::collections::BTreeSet;

use integration::{checkout, viewer::Viewer};
use jsonschema::Draft;
use reqwest::{Response, header::HeaderMap};
use serde_json::{Value, json};

/// The specification, and what of it was seen.
pub(super) struct Document {
    root: Value,
    seen: BTreeSet<String>,
}

impl Document {
    pub(super) fn read() -> Self {
        let text = std::fs::read_to_string(checkout("docs/openapi.json")).unwrap();
        Document {
            root: serde_json::from_str(&text).unwrap(),
            seen: BTreeSet::new(),
        }
    }

    /// Every path with its method.
    pub(super) fn operations(&self) -> Vec<(String, String)> {
        let paths = self.root["paths"].as_object().unwrap();
        let methods = |(path, item): (&String, &Value)| {
            let methods = item.as_object().unwrap().keys();
            let named: Vec<_> = methods
                .map(|method| (path.clone(), method.clone()))
                .collect();
            named
        };
        paths.iter().flat_map(methods).collect()
    }

    /// Whether a value is one of a named schema.
    pub(super) fn allows(&self, name: &str, value: &Value) -> bool {
        self.validator(&named(name)).is_valid(value)
    }

    /// Asserts that a value is one of a named schema.
    pub(super) fn see(&mut self, name: &str, value: &Value) {
        self.see_as(&named(name), value);
    }

    /// Asserts that an answer is among those of an operation. Returns the stream, where it is one.
    pub(super) async fn see_answer(
        &mut self,
        path: &str,
        method: &str,
        answer: Response,
    ) -> Option<Viewer> {
        let status = answer.status().as_str().to_owned();
        let what = format!("{method} {path} {status}");
        let declared = self.resolve(&self.root["paths"][path][method]["responses"][&status]);
        assert!(declared.is_object(), "{what} is in no specification");
        let declared = declared.clone();
        self.assert_headers(&what, &declared["headers"], answer.headers());
        self.seen.insert(what.clone());
        let media_type = answer.headers().get("content-type");
        let media_type = media_type.map(|text| text.to_str().unwrap().to_owned());
        let Some(content) = declared.get("content") else {
            assert_eq!(answer.text().await.unwrap(), "", "{what}");
            return None;
        };
        let content = &content[media_type.as_deref().unwrap_or("nothing")];
        assert!(content.is_object(), "{what} has {media_type:?}");
        if content.get("x-frames").is_some() {
            return Some(Viewer::new(answer));
        }
        let body: Value = answer.json().await.unwrap();
        self.see_as(&content["schema"], &body);
        None
    }

    /// Asserts that a stream's next frame is among those of its operation. Returns its name and
    /// data; `None` where the stream has ended.
    pub(super) async fn see_frame(
        &mut self,
        path: &str,
        viewer: &mut Viewer,
    ) -> Option<(String, Value)> {
        let event = viewer.event().await?;
        let what = format!("get {path} {}", event.event);
        let schema = self.frames(path)[&event.event].clone();
        assert!(schema.is_object(), "{what} is in no specification");
        let data = serde_json::from_str(&event.data).unwrap();
        self.see_as(&schema, &data);
        self.seen.insert(what);
        Some((event.event, data))
    }

    /// Asserts that all was seen that the operations, and these schemas, can bring.
    pub(super) fn assert_all_seen(&self, operations: &[(String, String)], schemas: &[&str]) {
        let mut possible = BTreeSet::new();
        let mut schemas: Vec<_> = schemas.iter().copied().map(named).collect();
        for (path, method) in operations {
            let responses = &self.root["paths"][path][method]["responses"];
            for (status, response) in responses.as_object().unwrap() {
                possible.insert(format!("{method} {path} {status}"));
                let content = &self.resolve(response)["content"];
                let content = content.as_object().into_iter().flat_map(|all| all.values());
                schemas.extend(content.map(|content| content["schema"].clone()));
            }
            for (name, schema) in self.frames(path).as_object().into_iter().flatten() {
                possible.insert(format!("{method} {path} {name}"));
                schemas.push(schema.clone());
            }
        }
        for schema in &schemas {
            self.walk(schema, "", None, &mut possible);
        }
        let unseen: Vec<_> = possible.difference(&self.seen).collect();
        assert!(unseen.is_empty(), "never seen: {unseen:#?}");
    }

    /// The frames of a stream, by name.
    fn frames(&self, path: &str) -> &Value {
        let answer = self.resolve(&self.root["paths"][path]["get"]["responses"]["200"]);
        &answer["content"]["text/event-stream"]["x-frames"]
    }

    fn see_as(&mut self, schema: &Value, value: &Value) {
        self.assert_valid(schema, value);
        let mut seen = BTreeSet::new();
        self.walk(schema, "", Some(value), &mut seen);
        self.seen.extend(seen);
    }

    fn assert_valid(&self, schema: &Value, value: &Value) {
        let validator = self.validator(schema);
        let errors = validator.iter_errors(value);
        let errors: Vec<_> = errors.map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{value} is no {schema}: {errors:#?}");
    }

    fn assert_headers(&self, what: &str, declared: &Value, headers: &HeaderMap) {
        for (name, header) in declared.as_object().unwrap() {
            let header = self.resolve(header);
            assert_eq!(header["required"], true, "{name}");
            let value = headers.get(name);
            let value = value.unwrap_or_else(|| panic!("{what} has no {name}"));
            let value = value.to_str().unwrap();
            let value = match header["schema"]["type"].as_str() {
                Some("integer") => value.parse().unwrap(),
                _ => json!(value),
            };
            self.assert_valid(&header["schema"], &value);
        }
    }

    /// `OpenAPI` 3.1's schemas are JSON Schema 2020-12. Formats are held to, too.
    fn validator(&self, schema: &Value) -> jsonschema::Validator {
        let schema = json!({"components": self.root["components"], "allOf": [schema]});
        let options = jsonschema::options().with_draft(Draft::Draft202012);
        options
            .should_validate_formats(true)
            .build(&schema)
            .unwrap()
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.root.pointer(&reference[1..]).unwrap(),
            None => value,
        }
    }

    /// Collects which of its possible forms a value has, or all where there is none: the words of
    /// an enumeration, null and not. What is sent says all that it may hold, and holds all of it.
    fn walk(&self, schema: &Value, place: &str, value: Option<&Value>, to: &mut BTreeSet<String>) {
        let target = self.resolve(schema);
        if let Some(words) = target["enum"].as_array() {
            let is_it = |word: &&Value| value.is_none_or(|value| value == *word);
            to.extend(
                words
                    .iter()
                    .filter(is_it)
                    .map(|word| format!("{place} {word}")),
            );
        }
        if target["type"] == json!("object") {
            let name = schema["$ref"].as_str().unwrap_or(place);
            let properties = target["properties"].as_object();
            if let Some(properties) = properties {
                assert_eq!(target["additionalProperties"], false, "{name} is open");
                let required = target["required"].as_array().unwrap();
                // Most logs have but one; most producers keep no traces.
                let sometimes = ["epoch", "traceparent"];
                let always = properties.keys();
                let always = always.filter(|property| !sometimes.contains(&property.as_str()));
                assert_eq!(required.len(), always.count(), "{name}: absent is null");
            }
            for (property, schema) in properties.into_iter().flatten() {
                let value = value.map(|value| &value[property]);
                self.walk(schema, &format!("{name}.{property}"), value, to);
            }
            let others = &target["additionalProperties"];
            let values = value.and_then(Value::as_object).into_iter();
            for value in values.flat_map(|all| all.values()) {
                self.walk(others, name, Some(value), to);
            }
        }
        let values = value.and_then(Value::as_array).into_iter();
        for value in values.flatten() {
            self.walk(&target["items"], place, Some(value), to);
        }
        if value.is_none() {
            for nested in ["items", "additionalProperties"] {
                if target[nested].is_object() {
                    self.walk(&target[nested], place, None, to);
                }
            }
        }
        let not_null = target["oneOf"].as_array().into_iter().flatten();
        let not_null: Vec<_> = not_null.filter(|one| one["type"] != "null").collect();
        let of_types = target["type"].as_array().is_some();
        if of_types || !not_null.is_empty() {
            if value.is_none_or(Value::is_null) {
                to.insert(format!("{place} null"));
            }
            if value.is_none_or(|value| !value.is_null()) {
                to.insert(format!("{place} not null"));
                for one in not_null {
                    self.walk(one, place, value, to);
                }
            }
        }
    }
}

fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}
