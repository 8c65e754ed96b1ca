//! Version negotiation of EPCIS 2.0 (section 12.2): headers that say which EPCIS and CBV a client speaks, and what the
//! server does. This server speaks 2.0 of both, in JSON.

use tradelane_hub::{HubError, Result};
use tradelane_model::codes;

use super::{JSON, JSON_LD};
use crate::door::Asked;

/// What the server speaks, of EPCIS and of CBV.
pub(crate) const VERSION: &str = "2.0.0";
const SPOKEN: [u32; 2] = [2, 0];

/// Checks that the client speaks what the server does.
pub(super) fn check(ask: &Asked) -> Result<()> {
    for (exact, least, most) in
        [("gs1-epcis-version", "gs1-epcis-min", "gs1-epcis-max"), ("gs1-cbv-version", "gs1-cbv-min", "gs1-cbv-max")]
    {
        let said = |name| ask.header(name)?.map(|text| parse(text).ok_or_else(|| unacceptable(name))).transpose();
        if said(exact)?.is_some_and(|version| version != SPOKEN)
            || said(least)?.is_some_and(|version| version > SPOKEN)
            || said(most)?.is_some_and(|version| version < SPOKEN)
        {
            return Err(unacceptable(exact));
        }
    }
    // Identifiers are answered as they were captured, in whichever form that was.
    match ask.header("gs1-epc-format")? {
        None | Some("No_Preference" | "Never_Translates") => Ok(()),
        Some(_) => Err(HubError::new(
            codes::NOT_ACCEPTABLE,
            "Identifiers are answered as they were captured; send GS1-EPC-Format: No_Preference or Never_Translates.",
        )),
    }
}

/// In which of the two JSON media types the answer goes.
pub(super) fn media(ask: &Asked) -> Result<&'static str> {
    ask.accepts(&[JSON, JSON_LD])
}

/// Major and minor of `2`, `2.0` or `2.0.1`.
fn parse(text: &str) -> Option<[u32; 2]> {
    let mut parts = text.split('.').map(|part| part.parse::<u32>().ok().filter(|_| !part.starts_with('+')));
    let major = parts.next()??;
    let minor = parts.next().map_or(Some(0), |minor| minor)?;
    parts.all(|part| part.is_some()).then_some([major, minor])
}

fn unacceptable(name: &str) -> HubError {
    HubError::new(
        codes::NOT_ACCEPTABLE,
        format!("The versions in {name} and its like exclude 2.0, which is spoken here."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_major_and_minor() {
        for (text, version) in [("2", [2, 0]), ("2.0", [2, 0]), ("2.0.1", [2, 0]), ("1.2", [1, 2]), ("10.0", [10, 0])] {
            assert_eq!(parse(text), Some(version), "{text}");
        }
        for bad in ["", "a", "2.", "2.x", "2.0.x", "+2.0", "-1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
