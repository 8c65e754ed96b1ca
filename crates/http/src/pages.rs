//! Pages for people: the API, made from the OpenAPI document, and one page per error. Plain HTML with a style sheet of its
//! own; no script, nothing from elsewhere.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use tradelane_model::codes::{self, ErrorInfo};

const STYLE: &str = "\
:root{color-scheme:light dark;--edge:#8884;--soft:#8881;--get:#1a7f4b;--post:#1d5fbf;--delete:#b3261e;--other:#7a5a00}\
body{font:16px/1.55 system-ui,sans-serif;max-width:62rem;margin:0 auto;padding:2rem 1.25rem 6rem}\
h1{font-size:1.9rem;margin:0 0 .5rem}h2{margin:2.5rem 0 .75rem;font-size:1.3rem}h3{font-size:1rem;margin:1rem 0 .25rem}\
p{margin:.4rem 0}a{color:inherit}code,pre{font:.87em/1.5 ui-monospace,monospace}pre{overflow:auto;padding:.75rem;background:var(--soft);border-radius:.4rem}\
nav{display:flex;flex-wrap:wrap;gap:.5rem 1rem;margin:1.25rem 0}\
details{border:1px solid var(--edge);border-radius:.5rem;margin:.5rem 0;background:var(--soft)}\
summary{cursor:pointer;padding:.55rem .8rem;display:flex;gap:.8rem;align-items:baseline;flex-wrap:wrap}summary::marker{content:none}\
.in{padding:.2rem 1rem 1rem}.m{font:600 .75rem/1.6 ui-monospace,monospace;min-width:4.2rem;text-align:center;border-radius:.3rem;color:#fff;background:var(--other)}\
.m.get{background:var(--get)}.m.post{background:var(--post)}.m.delete{background:var(--delete)}.s{opacity:.75}\
table{border-collapse:collapse;width:100%;font-size:.92rem}td,th{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--edge)}\
.open{font-size:.8rem;opacity:.7;border:1px solid var(--edge);border-radius:1rem;padding:0 .6rem}";

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{}</title><style>{STYLE}</style></head><body>{body}</body></html>\n",
        escape(title)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Escaped text in which `code` is set as code.
fn prose(text: &str) -> String {
    let mut out = String::new();
    for (i, part) in text.split('`').enumerate() {
        let part = escape(part);
        out.push_str(&if i % 2 == 1 { format!("<code>{part}</code>") } else { part });
    }
    out
}

fn words<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The API as a page.
pub(crate) fn api_page(document: &Value) -> String {
    let info = &document["info"];
    let mut body = format!(
        "<h1>{} <span class=\"s\">{}</span></h1><p>{}</p><nav><a href=\"/openapi.json\">OpenAPI document</a>\
         <a href=\"/errors\">Errors</a></nav><nav>",
        escape(words(info, "title")),
        escape(words(info, "version")),
        prose(words(info, "description"))
    );
    let tags = document["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    for tag in tags {
        let name = escape(words(tag, "name"));
        let _ = write!(body, "<a href=\"#{name}\">{name}</a>");
    }
    body.push_str("<a href=\"#Schemas\">Schemas</a></nav>");
    for tag in tags {
        let name = words(tag, "name");
        let _ = write!(body, "<h2 id=\"{0}\">{0}</h2><p>{1}</p>", escape(name), prose(words(tag, "description")));
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                if operation["tags"][0].as_str() == Some(name) {
                    put_operation(&mut body, path, method, operation);
                }
            }
        }
    }
    body.push_str("<h2 id=\"Schemas\">Schemas</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let text = serde_json::to_string_pretty(schema).unwrap_or_default();
        let name = escape(name);
        let _ = write!(
            body,
            "<details id=\"schema-{name}\"><summary><code>{name}</code> <span class=\"s\">{}</span></summary>\
             <div class=\"in\"><pre>{}</pre></div></details>",
            prose(words(schema, "description")),
            escape(&text)
        );
    }
    page("Tradelane API", &body)
}

fn put_operation(body: &mut String, path: &str, method: &str, operation: &Value) {
    let open = if operation["security"].as_array().is_some_and(Vec::is_empty) {
        "<span class=\"open\">public</span>"
    } else {
        ""
    };
    let _ = write!(
        body,
        "<details id=\"{id}\"><summary><span class=\"m {method}\">{upper}</span><code>{path}</code>\
         <span class=\"s\">{summary}</span>{open}</summary><div class=\"in\">",
        id = escape(words(operation, "operationId")),
        upper = method.to_ascii_uppercase(),
        path = escape(path),
        summary = prose(words(operation, "summary")),
    );
    if let Some(text) = operation["description"].as_str() {
        let _ = write!(body, "<p>{}</p>", prose(text));
    }
    put_parameters(body, operation);
    if let Some(content) = operation["requestBody"]["content"].as_object() {
        body.push_str("<h3>Body</h3>");
        put_content(body, content);
    }
    body.push_str("<h3>Answers</h3><table>");
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let _ = write!(body, "<tr><td><code>{status}</code></td><td>{}", prose(words(response, "description")));
        if let Some(content) = response["content"].as_object() {
            put_content(body, content);
        }
        body.push_str("</td></tr>");
    }
    body.push_str("</table></div></details>");
}

fn put_parameters(body: &mut String, operation: &Value) {
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if parameters.is_empty() {
        return;
    }
    body.push_str("<h3>Parameters</h3><table>");
    for parameter in parameters {
        let _ = write!(
            body,
            "<tr><td><code>{}</code> <span class=\"s\">{}</span></td><td>{}</td><td><code>{}</code></td></tr>",
            escape(words(parameter, "name")),
            escape(words(parameter, "in")),
            prose(words(parameter, "description")),
            escape(&brief(&parameter["schema"]))
        );
    }
    body.push_str("</table>");
}

fn put_content(body: &mut String, content: &Map<String, Value>) {
    for (media, content) in content {
        let schema = &content["schema"];
        let name = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next());
        let shown = match name {
            Some(name) => format!("<a href=\"#schema-{0}\">{0}</a>", escape(name)),
            None => format!("<code>{}</code>", escape(&brief(schema))),
        };
        let _ = write!(body, "<p><code>{}</code> {shown}</p>", escape(media));
    }
}

/// A schema in a few words.
fn brief(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" | ");
    }
    if let Some(either) = schema["oneOf"].as_array() {
        return either.iter().map(brief).collect::<Vec<_>>().join(" | ");
    }
    let kind = words(schema, "type");
    match (schema["minimum"].as_u64(), schema["maximum"].as_u64(), schema["format"].as_str()) {
        (Some(least), Some(most), _) => format!("{kind} {least} to {most}"),
        (_, _, Some(format)) => format!("{kind} ({format})"),
        _ => kind.to_owned(),
    }
}

/// All errors as a page.
pub(crate) fn errors_page() -> String {
    let mut body =
        "<h1>Errors</h1><p>Every error has a stable code and a page that says what to do.</p><table>".to_owned();
    for info in codes::ALL {
        let _ = write!(
            body,
            "<tr><td><a href=\"/errors/{}\"><code>{}</code></a></td><td>{}</td><td>{}</td></tr>",
            info.slug,
            info.code,
            info.status,
            prose(info.title)
        );
    }
    body.push_str("</table>");
    page("Tradelane errors", &body)
}

/// One error as a page.
pub(crate) fn error_page(info: &ErrorInfo) -> String {
    let body = format!(
        "<nav><a href=\"/docs\">API</a><a href=\"/errors\">Errors</a></nav><h1><code>{}</code> {}</h1><p class=\"s\">HTTP status {}</p>\
         <p>{}</p><h2>What to do</h2><p>{}</p>",
        info.code,
        escape(info.slug),
        info.status,
        prose(info.title),
        prose(info.remedy)
    );
    page(&format!("{} {}", info.code, info.slug), &body)
}

/// One error as Markdown, as `docs/errors` has it.
pub(crate) fn error_markdown(info: &ErrorInfo) -> String {
    format!(
        "# {} {}\n\nHTTP status {}\n\n{}\n\n## What to do\n\n{}\n",
        info.code, info.slug, info.status, info.title, info.remedy
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_page_shows_every_operation_and_runs_no_script() {
        let routes = crate::routes::all();
        let page = api_page(&crate::api::document(&routes));
        for route in &routes {
            assert!(page.contains(&format!("id=\"{}\"", route.operation.id())), "{}", route.operation.id());
        }
        assert!(!page.contains("<script") && !page.contains("http-equiv") && !page.contains("src="));
    }

    #[test]
    fn text_cannot_leave_its_place_in_a_page() {
        assert_eq!(prose("a <b> `<c>\"`"), "a &lt;b&gt; <code>&lt;c&gt;&quot;</code>");
    }

    fn repository(path: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
    }

    #[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the product")]
    /// Holds a checked-in file against what the code makes; with `TRADELANE_BLESS=1` it is written instead.
    fn same_or_blessed(path: PathBuf, made: &str) {
        if std::env::var_os("TRADELANE_BLESS").is_some_and(|value| value == "1") {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, made).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == made, "{} is stale; run the tests with TRADELANE_BLESS=1 and commit it", path.display());
    }

    #[test]
    fn the_checked_in_openapi_document_is_what_the_code_says() {
        let document = crate::api::document(&crate::routes::all());
        let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
        same_or_blessed(repository("docs/api/openapi.json"), &text);
    }

    #[test]
    fn every_error_has_its_page_and_no_page_is_left_over() {
        let mut index =
            "# Errors\n\nEvery error has a stable code. This list and its pages are made from the code.\n\n\
                         | code | status | what was wrong |\n|---|---|---|\n"
                .to_owned();
        for info in codes::ALL {
            let name = format!("{}.md", info.slug);
            same_or_blessed(repository("docs/errors").join(&name), &error_markdown(info));
            let _ = writeln!(index, "| [{}]({name}) | {} | {} |", info.code, info.status, info.title);
        }
        same_or_blessed(repository("docs/errors/README.md"), &index);
        let pages = fs::read_dir(repository("docs/errors")).unwrap().count();
        assert_eq!(pages, codes::ALL.len() + 1, "docs/errors holds a page of an error that is no more");
    }
}
