//! `--keep`: the hub goes on, with all that one needs to talk to it.

use serde_json::json;

use super::stage::{OPERATOR, Stage};
use super::world::PRINCIPALS;
use crate::commands::{keys, text};
use crate::failure::Result;
use crate::out::Tone;

pub(super) fn run(stage: &mut Stage) -> Result<()> {
    stage.heading("Yours: the hub goes on until you press Ctrl-C");
    let secret = keys::issue(&stage.of(OPERATOR), "northline-tms", keys::Kind::ClientSecret, 1, None)?;
    let (client_id, client_secret) = (text(&secret, "id"), keys::secret_of(&secret));
    let (url, ca) = (stage.started.url.clone(), stage.ca.display().to_string());
    let out = stage.out;
    let product = if stage.known("input").is_null() { super::story::PRODUCT } else { super::own::PRODUCT };
    stage.say(format!("address        {url}   (API description at {url}/docs)"));
    let kafka = stage.started.kafka.map(|address| format!("localhost:{}", address.port())).unwrap_or_default();
    stage.say(format!("Kafka clients  {kafka}   (SASL_SSL; any user name, an API key as the password)"));
    stage.say(format!("authority      {ca}"));
    for principal in [OPERATOR].into_iter().chain(PRINCIPALS) {
        stage.say(format!("{principal:14} {}", stage.key(principal)));
    }
    out.line("");
    let lines = [
        format!("curl --cacert {ca} -H 'Authorization: Bearer {}' {url}/v1/products", stage.key("corner-desk")),
        format!(
            "curl --cacert {ca} -H 'Authorization: Bearer {}' -H 'Accept: application/x-ndjson' '{url}/v1/products/{product}/events?from=earliest&limit=2'",
            stage.key("medidis-desk")
        ),
        format!(
            "curl --cacert {ca} -N -H 'Authorization: Bearer {}' -H 'Accept: text/event-stream' '{url}/v1/products/acme-stock/events?from=latest'",
            stage.key("medidis-desk")
        ),
        format!(
            "curl --cacert {ca} -u {client_id}:{client_secret} -d grant_type=client_credentials -d scope=read:{product} {url}/oauth/token"
        ),
        format!(
            "curl --cacert {ca} -H 'Authorization: Bearer {}' '{url}/epcis/{product}/events?eventType=ObjectEvent&EQ_bizStep=shipping&perPage=2'",
            stage.key("northline-desk")
        ),
        format!("curl --cacert {ca} {url}/tlog/checkpoint"),
        format!(
            "TRADELANE_URL={url} TRADELANE_CA={ca} TRADELANE_KEY={} tradelane explain {product} --as medidis --offset 8",
            stage.key("acme-desk")
        ),
        format!(
            "kcat -b {kafka} -X security.protocol=SASL_SSL -X ssl.ca.location={ca} -X sasl.mechanisms=PLAIN -X sasl.username=corner -X sasl.password={} -C -t {product} -o beginning -c 2",
            stage.key("corner-desk")
        ),
    ];
    lines.iter().for_each(|line| out.line(line));
    out.line(format!(
        "\n    {}",
        out.paint(Tone::Dim, "These keys work on this machine for a day, and end with the hub.")
    ));
    let principals = [OPERATOR].into_iter().chain(PRINCIPALS);
    let all: serde_json::Map<_, _> = principals.map(|name| (name.to_owned(), json!(stage.key(name)))).collect();
    stage.fact("keep", json!({"url": url, "kafka": kafka, "ca": ca, "keys": all, "curl": lines}));
    stage.finish();
    stage.wait_for_signal();
    Ok(())
}
