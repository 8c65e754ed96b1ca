//! The steps of the story: published, seen by each, filtered, refused, revoked, erased.

use std::sync::mpsc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::compare::{Seen, fields};
use super::stage::{Stage, millis, milliseconds};
use super::world::{COLD_CHAIN, INVALID, PARTNERS, PRODUCTION, SHIPMENTS, STOCK, TRACKING};
use crate::client::{Answer, Client, Send, places};
use crate::commands::{grants, publish, read, rows, tail, text};
use crate::failure::{Failure, Result};
use crate::out::Tone;
use crate::sse::Events;
use crate::stopwatch::Stopwatch;

/// The product that the story is about.
pub(super) const PRODUCT: &str = "acme-shipments";
/// The person who is erased, by the identity that the contract names, and another one who is not.
const ERASED: &str = "jana.novak@mail.example";
const ERASED_NAME: &str = "Jana Novák";
const OTHER: &str = "piet.devries@mail.example";
/// What the carrier gets a token for.
const ORDER: &str = "/acme:commercial/acme:orderRef";
/// How long a reader may take to notice that its grant is gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// An event as a reader got it.
pub(super) struct Got {
    pub(super) offset: u64,
    pub(super) event: Value,
}

/// Publishes the documents of the examples, each as its owner.
pub(super) fn publish(stage: &mut Stage) -> Result<()> {
    stage.heading("Real EPCIS 2.0 documents and plain JSON, through the public API");
    let documents = [
        ("acme-erp", PRODUCT, PRODUCTION),
        ("acme-erp", PRODUCT, SHIPMENTS),
        ("northline-tms", "northline-cold-chain", COLD_CHAIN),
    ];
    let out = stage.out;
    let mut table = out.table(&["file", "sent as", "to", "events", "took"]);
    let mut total = 0;
    for (who, product, (file, text)) in documents {
        let begin = Stopwatch::start();
        let job = publish::captured(&stage.of(who), product, text.as_bytes(), false)?;
        stage.must(job["success"] == true, &format!("{file} is captured"))?;
        let count = count_events(text);
        total += count;
        let row =
            [file.into(), "POST …/capture".into(), product.into(), count.to_string(), milliseconds(begin.elapsed())];
        table.add_row(row);
    }
    let lines = [("acme-erp", "acme-stock", STOCK), ("northline-tms", "northline-tracking", TRACKING)];
    for (who, product, (file, text)) in lines {
        let begin = Stopwatch::start();
        let answer =
            publish::publish(&stage.of(who), product, text.as_bytes(), publish::Format::Ndjson, Some(file), false)?;
        let count = answer["count"].as_u64().unwrap_or(0);
        total += count;
        let row =
            [file.into(), "POST …/events".into(), product.into(), count.to_string(), milliseconds(begin.elapsed())];
        table.add_row(row);
    }
    stage.table(&table);
    stage.say(
        "Each event was parsed once, checked against EPCIS and its contract, sealed, stored durably and put on record.",
    );
    stage.fact("documentEvents", json!(total));
    Ok(())
}

fn count_events(document: &str) -> u64 {
    let value: Value = serde_json::from_str(document).unwrap_or_default();
    value.pointer("/epcisBody/eventList").and_then(Value::as_array).map_or(0, |list| list.len() as u64)
}

/// All events of a product as this client sees them.
pub(super) fn read_all(client: &Client, product: &str) -> Result<Vec<Got>> {
    let (mut all, mut from) = (Vec::new(), "earliest".to_owned());
    loop {
        let answer = read::page(client, product, &from, 10_000, 0, None)?;
        all.extend(parse(&answer)?);
        match read::cursor(&answer) {
            Some(next) if next != from => from = next,
            _ => return Ok(all),
        }
    }
}

/// The events of one page of NDJSON.
pub(super) fn parse(answer: &Answer) -> Result<Vec<Got>> {
    let lines = answer.body.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut value: Value = serde_json::from_slice(line).map_err(|_| Failure::failed("an event is no JSON"))?;
            Ok(Got { offset: value["offset"].as_u64().unwrap_or(0), event: value["event"].take() })
        })
        .collect()
}

/// The event at this offset in the eyes of all partners.
pub(super) fn seen_by_all(stage: &Stage, product: &str, offset: u64) -> Result<Seen> {
    let mut by = Vec::new();
    for partner in PARTNERS {
        let answer = read::page(&stage.of(partner.reader), product, &offset.to_string(), 1, 0, None)?;
        let event = parse(&answer)?.into_iter().find(|got| got.offset == offset).map(|got| got.event);
        by.push(event);
    }
    Ok(Seen { by })
}

/// One shipment in four views.
pub(super) fn side_by_side(stage: &mut Stage) -> Result<()> {
    stage.heading("The same event, as each partner sees it");
    let events = read_all(&stage.of("acme-desk"), PRODUCT)?;
    let shipped = events.iter().find(|got| got.event["bizStep"] == "shipping" && is_of(got, ERASED));
    let shipped = shipped.ok_or_else(|| Failure::no("the shipment is not there"))?;
    let seen = seen_by_all(stage, PRODUCT, shipped.offset)?;
    let out = stage.out;
    let tallies = seen.print(stage, 40);
    stage.say(format!(
        "{} as published   {} changed: pseudonym, token, partly, coarser, redacted   {} left out",
        out.paint(Tone::Good, "green"),
        out.paint(Tone::Warn, "yellow"),
        out.paint(Tone::Bad, "—")
    ));
    stage.must(tallies.iter().skip(1).all(|tally| tally.gone > 0), "every partner is shown less than the owner")?;
    let carrier = seen.by.get(1).and_then(Option::as_ref).map(Value::to_string).unwrap_or_default();
    let retailer = seen.by.get(3).and_then(Option::as_ref).map(Value::to_string).unwrap_or_default();
    stage.must(carrier.contains(ERASED_NAME), "the carrier sees whom it delivers to")?;
    stage.must(!retailer.contains(ERASED) && !retailer.contains(ERASED_NAME), "the retailer sees no person")?;
    let tally: Vec<Value> = PARTNERS
        .iter()
        .zip(&tallies)
        .map(|(p, t)| json!({"organization": p.name, "asPublished": t.shown, "changed": t.changed, "leftOut": t.gone}))
        .collect();
    stage.fact("sideBySide", json!(tally));
    let explain = stage.of("acme-desk").post(
        &format!("/v1/products/{PRODUCT}/explain"),
        &json!({"organization": "medidis", "offset": shipped.offset}),
    )?;
    let email = rows(&explain, "fields").iter().find(|field| text(field, "pointer").ends_with("acme:email"));
    if let Some(field) = email {
        let (at, class, because) = (text(field, "pointer"), text(field, "class"), text(field, "because"));
        let action = crate::commands::explain::action(&field["action"]);
        stage.say(format!("Why? `tradelane explain --as medidis`: {at} is {class}; {action}, because of {because}"));
    }
    let token = seen.by.get(1).and_then(Option::as_ref).and_then(|event| event.pointer(ORDER)).and_then(Value::as_str);
    let token = token.ok_or_else(|| Failure::no("the carrier has no token of the order"))?;
    let back = stage.of("acme-desk").post(
        &format!("/v1/products/{PRODUCT}/detokenize"),
        &json!({ "grant": format!("{PRODUCT}-northline"), "token": token }),
    )?;
    stage.must(Some(&back["value"]) == shipped.event.pointer(ORDER), "the owner turns the carrier's token back")?;
    stage.holds(format!(
        "northline's token {}: acme turns it back into {}",
        super::compare::shorten(token, 16),
        back["value"]
    ));
    Ok(())
}

fn is_of(got: &Got, email: &str) -> bool {
    got.event.pointer("/acme:shipTo/acme:email").and_then(Value::as_str) == Some(email)
}

/// The distributor's row filter.
pub(super) fn row_filter(stage: &mut Stage) -> Result<()> {
    stage.heading("A distributor that gets only the products it carries");
    let mut offsets: Vec<Vec<u64>> = Vec::new();
    let mut all = Vec::new();
    for partner in PARTNERS {
        let events = read_all(&stage.of(partner.reader), PRODUCT)?;
        offsets.push(events.iter().map(|got| got.offset).collect());
        if partner.name == "acme" {
            all = events;
        }
    }
    let out = stage.out;
    let mut table = out.table(&["#", "event", "goods", "acme", "northline", "medidis", "corner"]);
    for got in &all {
        let mut row = vec![
            out.cell(Tone::Dim, got.offset),
            out.cell(Tone::Plain, format!("{} {}", text(&got.event, "type"), text(&got.event, "bizStep"))),
            out.cell(Tone::Plain, goods(&got.event)),
        ];
        row.extend(offsets.iter().map(|seen| match seen.contains(&got.offset) {
            true => out.cell(Tone::Good, "✓"),
            false => out.cell(Tone::Dim, "·"),
        }));
        table.add_row(row);
    }
    stage.table(&table);
    let counts: Vec<usize> = offsets.iter().map(Vec::len).collect();
    let (owner, distributor) = (counts.first().copied().unwrap_or(0), counts.get(2).copied().unwrap_or(0));
    stage.must(distributor > 0 && distributor < owner, "the distributor gets some events and not all")?;
    let filter = "reader.carries names GTIN 09506000134352 and 09506000134376";
    stage.holds(format!("medidis gets {distributor} of {owner}: its grant filters rows in CEL, and {filter}"));
    stage.fact("rowFilter", json!({"owner": owner, "distributor": distributor}));
    Ok(())
}

fn goods(event: &Value) -> String {
    let lists = ["epcList", "childEPCs", "outputQuantityList"];
    let leaves = lists.iter().filter_map(|name| event.get(*name)).flat_map(fields);
    let texts: Vec<String> = leaves.filter_map(|(_, value)| value.as_str().map(str::to_owned)).collect();
    let item = texts.iter().find(|text| !text.contains(":sscc:")).or(texts.first());
    let more = if texts.len() > 1 { format!(" +{}", texts.len() - 1) } else { String::new() };
    format!("{}{more}", item.map(|text| super::compare::shorten(text, 33)).unwrap_or_default())
}

/// What is refused, and why; and how to ask.
pub(super) fn refusals(stage: &mut Stage) -> Result<()> {
    stage.heading("Refused, and why");
    let mut told = Vec::new();
    let no_grant = read::page(&stage.of("corner-desk"), "northline-tracking", "earliest", 10, 0, None);
    told.push(refusal(stage, "corner reads northline-tracking", no_grant.map(drop))?);
    let not_theirs =
        publish::publish(&stage.of("northline-tms"), "acme-stock", b"{}", publish::Format::Json, None, false);
    told.push(refusal(stage, "northline publishes to acme-stock", not_theirs.map(drop))?);
    let invalid = captured_or_refused(&stage.of("acme-erp"), INVALID.1);
    told.push(refusal(stage, "acme captures a document that is not valid", invalid)?);
    let bad = STOCK.1.lines().next().unwrap_or_default().replace("\"available\":780", "\"available\":781");
    let bad = publish::publish(&stage.of("acme-erp"), "acme-stock", bad.as_bytes(), publish::Format::Json, None, false);
    told.push(refusal(stage, "acme publishes stock that does not add up", bad.map(drop))?);
    stage.fact("refusals", json!(told));
    let asked = stage.of("corner-desk").post(
        "/v1/access-requests",
        &json!({"product": "northline-tracking", "purpose": "delivery-status", "note": "For our stores' customers."}),
    )?;
    let id = text(&asked, "id");
    let conditions =
        json!({"view": {"classes": {"confidential": "drop", "pii": "drop"}}, "expires": "2099-01-01T00:00:00Z"});
    stage.of("northline-desk").post(&format!("/v1/grants/{id}/approve"), &conditions)?;
    let count = read_all(&stage.of("corner-desk"), "northline-tracking")?.len();
    let count = if count == 0 { "it".to_owned() } else { format!("{count} events") };
    stage.holds(format!("corner asks, northline approves with a view and an end, corner reads {count}"));
    Ok(())
}

/// A capture is refused at once, or its job says no.
fn captured_or_refused(client: &Client, document: &str) -> Result<()> {
    let job = publish::captured(client, PRODUCT, document.as_bytes(), false)?;
    if job["success"] == true {
        return Ok(());
    }
    let mut failure = Failure::no("The document was refused whole.").coded("TL-1003");
    failure.places = places(&job);
    Err(failure)
}

/// Says how something was refused; that it was done after all is a failure.
fn refusal(stage: &Stage, what: &str, result: Result<()>) -> Result<Value> {
    let Err(failure) = result else {
        return Err(Failure::no(format!("{what}: this must be refused, and was not")));
    };
    let code = failure.code.clone().unwrap_or_default();
    stage.must(code.starts_with("TL-"), &format!("{what}: refused with a stable code ({failure})"))?;
    stage.refused(format!("{what}: {} {}", stage.out.paint(Tone::Bad, &code), failure.message));
    failure.places.iter().take(3).for_each(|place| stage.say(format!("    at {place}")));
    Ok(json!({"what": what, "code": code, "message": failure.message, "places": failure.places}))
}

/// A grant ends while its reader is connected.
pub(super) fn revocation(stage: &mut Stage, product: &str) -> Result<()> {
    stage.heading("A grant revoked while its reader is connected");
    let grant = format!("{product}-corner");
    let (sender, receiver) = mpsc::sync_channel::<(Stopwatch, String, String)>(256);
    let client = stage.of("corner-desk");
    let path = format!("/v1/products/{product}/events?from=earliest");
    let reader = std::thread::spawn(move || -> Result<()> {
        let send = Send { accept: Some("text/event-stream"), ..Send::default() };
        let mut events = Events::new(client.stream(&path, &send)?);
        while let Ok(Some(event)) = events.next_event() {
            if sender.send((Stopwatch::start(), event.name, event.data)).is_err() {
                break;
            }
        }
        Ok(())
    });
    let lost = |_| Failure::no("the connected reader heard nothing");
    let (_, first, _) = receiver.recv_timeout(PATIENCE).map_err(lost)?;
    stage.must(first == "message", "the connected reader gets events")?;
    stage.say(format!("corner follows {product} over server-sent events, and gets them as they come"));
    let begin = Stopwatch::start();
    grants::decide(&stage.of("acme-desk"), &grant, "revoke", "The season is over.")?;
    let answered = begin.elapsed();
    let (cut, failure) = loop {
        let (at, name, data) = receiver.recv_timeout(PATIENCE).map_err(lost)?;
        if let Some(failure) = tail::refusal(&name, &data) {
            break (begin.until(at), failure);
        }
    };
    drop(reader.join());
    let sentence = failure.message.split_inclusive('.').next().unwrap_or_default();
    let code = failure.code.unwrap_or_default();
    stage.refused(format!(
        "acme revokes the grant; the open stream ends: {} {sentence}",
        stage.out.paint(Tone::Bad, &code)
    ));
    let again = read::page(&stage.of("corner-desk"), product, "earliest", 1, 0, None);
    let again = again.err().and_then(|failure| failure.code).unwrap_or_default();
    stage.must(again.starts_with("TL-3"), "the next read is refused")?;
    stage.holds(format!(
        "revoked in {}, cut off after {}; the next read is refused with {again}",
        milliseconds(answered),
        milliseconds(cut)
    ));
    stage.fact("revocation", json!({"revokeMs": millis(answered), "cutOffMs": millis(cut), "nextRead": again}));
    Ok(())
}

/// One person is erased.
pub(super) fn erasure(stage: &mut Stage) -> Result<()> {
    stage.heading("One person erased");
    let owner = stage.of("acme-desk");
    let before = read_all(&owner, PRODUCT)?;
    let mine: Vec<u64> = before.iter().filter(|got| is_of(got, ERASED)).map(|got| got.offset).collect();
    stage.must(mine.len() == 2, "two events tell of the person")?;
    stage.say(format!("Before: acme reads {ERASED_NAME} <{ERASED}> in events {mine:?}"));
    let begin = Stopwatch::start();
    let erased = owner.post("/v1/erasures", &json!({ "subject": ERASED }))?;
    let took = begin.elapsed();
    let keys = erased["keysDestroyed"].as_u64().unwrap_or(0);
    stage.must(keys > 0, "a key was destroyed")?;
    stage.say(format!("The key is destroyed, not the rows: {keys} key, in {}", milliseconds(took)));
    let after = read_all(&owner, PRODUCT)?;
    let whole: String = after.iter().map(|got| got.event.to_string()).collect();
    let gone = !whole.contains(ERASED) && !whole.contains(ERASED_NAME) && !whole.contains("Insulin dependent");
    stage.must(gone && after.len() == before.len(), "the events are there, the person is not")?;
    stage.must(whole.contains(OTHER), "other persons are not touched")?;
    let left = after.iter().find(|got| mine.first() == Some(&got.offset));
    let left = left.and_then(|got| got.event.get("acme:shipTo")).unwrap_or(&Value::Null);
    stage.holds(format!("After: the owner itself reads the events without the person: shipTo is {left}"));
    let (files, bytes) = stored_bytes(stage)?;
    let needles = [ERASED, ERASED_NAME, "jana.novak", "601 234 567", "Insulin dependent"];
    let clear = needles.iter().any(|needle| files.iter().any(|file| contains(file, needle.as_bytes())));
    stage.must(!clear, "nothing of the person stands in the stored bytes")?;
    stage.holds(format!(
        "Searched {bytes} bytes of stores and audit log: nothing of the person, in clear, ever stood there"
    ));
    stage.holds(format!("{OTHER} is still read; the erasure itself is on record, by a commitment without a name"));
    stage.fact("erasure", json!({"keysDestroyed": keys, "ms": millis(took), "searchedBytes": bytes}));
    Ok(())
}

/// The bytes of every file that the hub keeps.
fn stored_bytes(stage: &Stage) -> Result<(Vec<Vec<u8>>, u64)> {
    let mut files = Vec::new();
    let mut folders = vec![stage.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| Failure::file(&folder, error))? {
            let path = entry.map_err(|error| Failure::file(&folder, error))?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(std::fs::read(&path).map_err(|error| Failure::file(&path, error))?);
            }
        }
    }
    let bytes = files.iter().map(|file| file.len() as u64).sum();
    Ok((files, bytes))
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Asks the hub for something as this principal, and gives its audit leaf.
pub(super) fn leaf_of_read(stage: &Stage, principal: &str, product: &str) -> Result<u64> {
    let path = format!("/v1/products/{product}/events?from=earliest&limit=100");
    let send = Send { accept: Some("application/x-ndjson"), ..Send::default() };
    let answer = stage.of(principal).send(Method::GET, &path, &send)?;
    let leaf = answer.header("tradelane-receipt").and_then(|text| text.parse().ok());
    leaf.ok_or_else(|| Failure::no("a read has no receipt"))
}
