//! EPC URIs (`urn:epc:id:`, `urn:epc:class:`, `urn:epc:idpat:`; GS1 EPC Tag Data Standard, section 6): their grammar and
//! the GS1 Digital Link URI that says the same. Knows nothing of where in an event they stand.

use crate::digital_link::{check_digit, encoded, is_serial};

/// The schemes of EPC URIs that name GS1 keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Serialized trade item.
    Sgtin,
    /// Trade item batch (a class, no instance).
    Lgtin,
    /// Logistic unit.
    Sscc,
    /// Physical location.
    Sgln,
    /// Returnable asset.
    Grai,
    /// Individual asset.
    Giai,
    /// Service recipient.
    Gsrn,
    /// Service provider.
    Gsrnp,
    /// Document type.
    Gdti,
    /// Component or part.
    Cpi,
    /// Coupon.
    Sgcn,
    /// Consignment.
    Ginc,
    /// Shipment.
    Gsin,
    /// Piece of a trade item.
    Itip,
    /// Unit pack of a trade item.
    Upui,
    /// Party.
    Pgln,
}

/// What the components of an EPC URI are: digits together with the company prefix, then what follows.
struct Grammar {
    /// Digits of company prefix and reference together; `None` when the reference is free text.
    key_digits: Option<usize>,
    /// Longest free-text reference together with the company prefix, where `key_digits` is `None`.
    longest_reference: usize,
    /// Longest serial; 0 when there is none.
    serial: usize,
    serial_is_digits: bool,
}

impl Scheme {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "sgtin" => Self::Sgtin,
            "lgtin" => Self::Lgtin,
            "sscc" => Self::Sscc,
            "sgln" => Self::Sgln,
            "grai" => Self::Grai,
            "giai" => Self::Giai,
            "gsrn" => Self::Gsrn,
            "gsrnp" => Self::Gsrnp,
            "gdti" => Self::Gdti,
            "cpi" => Self::Cpi,
            "sgcn" => Self::Sgcn,
            "ginc" => Self::Ginc,
            "gsin" => Self::Gsin,
            "itip" => Self::Itip,
            "upui" => Self::Upui,
            "pgln" => Self::Pgln,
            _ => return None,
        })
    }

    fn grammar(self) -> Grammar {
        let fixed = |digits, serial| Grammar {
            key_digits: Some(digits),
            longest_reference: 0,
            serial,
            serial_is_digits: false,
        };
        let free =
            |serial, serial_is_digits| Grammar { key_digits: None, longest_reference: 30, serial, serial_is_digits };
        match self {
            Self::Sgtin | Self::Lgtin | Self::Itip => fixed(13, 20),
            Self::Upui => fixed(13, 28),
            Self::Sscc | Self::Gsrn | Self::Gsrnp => fixed(17, 0),
            Self::Sgln => fixed(12, 20),
            Self::Grai => fixed(12, 16),
            Self::Gdti => fixed(12, 17),
            Self::Sgcn => Grammar { serial_is_digits: true, ..fixed(12, 12) },
            Self::Pgln => fixed(12, 0),
            Self::Gsin => fixed(16, 0),
            Self::Cpi => free(12, true),
            Self::Giai | Self::Ginc => free(0, false),
        }
    }

    /// The GS1 application identifier of the key.
    pub fn ai(self) -> &'static str {
        match self {
            Self::Sgtin | Self::Lgtin | Self::Upui => "01",
            Self::Sscc => "00",
            Self::Sgln => "414",
            Self::Grai => "8003",
            Self::Giai => "8004",
            Self::Gsrn => "8018",
            Self::Gsrnp => "8017",
            Self::Gdti => "253",
            Self::Cpi => "8010",
            Self::Sgcn => "255",
            Self::Ginc => "401",
            Self::Gsin => "402",
            Self::Itip => "8006",
            Self::Pgln => "417",
        }
    }
}

/// A component of an EPC pattern: a value, or `*` for any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// This value.
    Is(&'a str),
    /// Any value.
    Any,
}

impl<'a> Part<'a> {
    fn of(text: &'a str) -> Self {
        if text == "*" { Self::Any } else { Self::Is(text) }
    }

    /// The value, if the part names one.
    pub fn value(self) -> Option<&'a str> {
        match self {
            Self::Is(value) => Some(value),
            Self::Any => None,
        }
    }
}

/// An EPC URI taken apart. In an identity or class every part is a value; in a pattern, what follows `*` is `*` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epc<'a> {
    /// What kind of key.
    pub scheme: Scheme,
    /// GS1 company prefix, 6 to 12 digits.
    pub prefix: Part<'a>,
    /// Item, location, asset, ... reference; may be empty.
    pub reference: Part<'a>,
    /// For an ITIP: piece and total.
    pub piece: Option<(Part<'a>, Part<'a>)>,
    /// Serial, extension or lot, where the scheme has one.
    pub serial: Option<Part<'a>>,
}

/// What a text is, as an EPC URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading<'a> {
    /// No EPC URI at all, or one of a scheme without GS1 key (`gid`, `usdod`, `adi`, `bic`, `imovn`) that is well formed.
    Other,
    /// Starts as an EPC URI but breaks its grammar.
    Malformed,
    /// A pure identity or a class.
    Identity(Epc<'a>),
    /// An identity pattern.
    Pattern(Epc<'a>),
}

fn digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// Reads a text as an EPC URI.
pub fn read(text: &str) -> Reading<'_> {
    let Some(rest) = text.strip_prefix("urn:epc:") else { return Reading::Other };
    let Some((kind, rest)) = rest.split_once(':') else { return Reading::Malformed };
    let Some((name, body)) = rest.split_once(':') else { return Reading::Malformed };
    let is_pattern = match (kind, name) {
        ("class", "lgtin") => false,
        ("id", "lgtin") | ("class", _) => return Reading::Malformed,
        ("id", "gid" | "usdod" | "adi" | "bic" | "imovn") if !body.is_empty() => return Reading::Other,
        ("idpat", "gid" | "usdod" | "adi" | "imovn") if !body.is_empty() => return Reading::Other,
        ("id", _) => false,
        ("idpat", _) => true,
        // Tag and raw URIs name what is written in a tag's memory; they are URIs like any other here.
        ("tag" | "raw" | "pat", _) => return Reading::Other,
        _ => return Reading::Malformed,
    };
    let Some(scheme) = Scheme::named(name) else { return Reading::Malformed };
    match (parts(scheme, body, is_pattern), is_pattern) {
        (None, _) => Reading::Malformed,
        (Some(epc), false) => Reading::Identity(epc),
        (Some(epc), true) => Reading::Pattern(epc),
    }
}

fn parts(scheme: Scheme, body: &str, is_pattern: bool) -> Option<Epc<'_>> {
    let grammar = scheme.grammar();
    let (prefix, rest) = body.split_once('.')?;
    let (reference, piece, serial) = split_rest(scheme, &grammar, rest)?;
    let epc = Epc {
        scheme,
        prefix: Part::of(prefix),
        reference: Part::of(reference),
        piece: piece.map(|(piece, total)| (Part::of(piece), Part::of(total))),
        serial: serial.map(Part::of),
    };
    if is_pattern {
        let order = [Some(epc.prefix), Some(epc.reference), epc.piece.map(|p| p.0), epc.piece.map(|p| p.1), epc.serial];
        let flags: Vec<bool> = order.iter().flatten().map(|part| *part == Part::Any).collect();
        // Only trailing components may be wildcards, and a pattern has at least one.
        if !flags.is_sorted() || flags.last() != Some(&true) {
            return None;
        }
    }
    // In an identity '*' is a character of a serial like any other, but no digit.
    let epc = if is_pattern {
        epc
    } else {
        Epc {
            prefix: Part::Is(prefix),
            reference: Part::Is(reference),
            piece: piece.map(|(piece, total)| (Part::Is(piece), Part::Is(total))),
            serial: serial.map(Part::Is),
            ..epc
        }
    };
    is_well_formed(&epc, &grammar).then_some(epc)
}

type Rest<'a> = (&'a str, Option<(&'a str, &'a str)>, Option<&'a str>);

fn split_rest<'a>(scheme: Scheme, grammar: &Grammar, rest: &'a str) -> Option<Rest<'a>> {
    if grammar.serial == 0 {
        return Some((rest, None, None));
    }
    if scheme == Scheme::Cpi {
        let (reference, serial) = rest.rsplit_once('.')?;
        return Some((reference, None, Some(serial)));
    }
    let (reference, rest) = rest.split_once('.')?;
    if scheme == Scheme::Itip {
        let (piece, rest) = rest.split_once('.')?;
        let (total, serial) = rest.split_once('.')?;
        return Some((reference, Some((piece, total)), Some(serial)));
    }
    Some((reference, None, Some(rest)))
}

fn is_well_formed(epc: &Epc<'_>, grammar: &Grammar) -> bool {
    let prefix_ok = epc.prefix.value().is_none_or(|prefix| (6..=12).contains(&prefix.len()) && digits(prefix));
    let reference_ok = match (epc.prefix, epc.reference, grammar.key_digits) {
        (_, Part::Any, _) => true,
        (Part::Any, Part::Is(_), _) => false,
        (Part::Is(prefix), Part::Is(reference), Some(total)) => {
            prefix.len() + reference.len() == total && digits(reference)
        }
        (Part::Is(prefix), Part::Is(reference), None) => {
            let longest = grammar.longest_reference.saturating_sub(prefix.len());
            if epc.scheme == Scheme::Cpi { is_part(reference, longest) } else { is_serial(reference, 1, longest) }
        }
    };
    let piece_ok = epc.piece.is_none_or(|(piece, total)| {
        [piece, total].iter().all(|part| part.value().is_none_or(|value| value.len() == 2 && digits(value)))
    });
    let serial_ok = epc.serial.is_none_or(|serial| {
        serial.value().is_none_or(|serial| {
            if grammar.serial_is_digits {
                (1..=grammar.serial).contains(&serial.len()) && digits(serial)
            } else {
                is_serial(serial, 1, grammar.serial)
            }
        })
    });
    prefix_ok && reference_ok && piece_ok && serial_ok
}

/// A component or part reference: digits, upper case, `-`, and `#` or `/` percent-encoded (GS1 character set 39).
fn is_part(text: &str, longest: usize) -> bool {
    let mut count = 0;
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let width = match first {
            b'0'..=b'9' | b'A'..=b'Z' | b'-' => 1,
            b'%' if rest.starts_with("%23") || rest.starts_with("%2F") || rest.starts_with("%2f") => 3,
            _ => return false,
        };
        count += 1;
        rest = rest.get(width..).unwrap_or_default();
    }
    (1..=longest).contains(&count)
}

impl Epc<'_> {
    /// The key with its check digit, as it stands in a Digital Link URI; `None` if a wildcard is in it.
    fn key(&self) -> Option<String> {
        let (prefix, reference) = (self.prefix.value()?, self.reference.value()?);
        let bare = match self.scheme {
            Scheme::Sgtin | Scheme::Lgtin | Scheme::Upui | Scheme::Itip | Scheme::Sscc => {
                // The indicator or extension digit comes first in the key, but second in the URI.
                format!("{}{prefix}{}", reference.get(..1)?, reference.get(1..)?)
            }
            Scheme::Grai => format!("0{prefix}{reference}"),
            Scheme::Giai | Scheme::Ginc | Scheme::Cpi => return Some(format!("{prefix}{}", encoded(reference))),
            _ => format!("{prefix}{reference}"),
        };
        let check = check_digit(&bare)?;
        Some(format!("{bare}{check}"))
    }

    /// The canonical GS1 Digital Link URI; of a pattern, that of the class when only the serial is a wildcard.
    pub fn to_digital_link(self) -> Option<String> {
        let mut key = self.key()?;
        if let Some((piece, total)) = self.piece {
            key.push_str(piece.value()?);
            key.push_str(total.value()?);
        }
        let base = format!("https://id.gs1.org/{}/{key}", self.scheme.ai());
        let Some(serial) = self.serial.and_then(Part::value) else { return Some(base) };
        let serial_text = encoded(serial);
        Some(match self.scheme {
            Scheme::Sgtin | Scheme::Itip => format!("{base}/21/{serial_text}"),
            Scheme::Lgtin => format!("{base}/10/{serial_text}"),
            Scheme::Upui => format!("{base}/235/{serial_text}"),
            Scheme::Sgln if serial == "0" => base,
            Scheme::Sgln => format!("{base}/254/{serial_text}"),
            Scheme::Cpi => format!("{base}/8011/{serial}"),
            _ => format!("{base}{serial_text}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(text: &str) -> Option<String> {
        match read(text) {
            Reading::Identity(epc) | Reading::Pattern(epc) => epc.to_digital_link(),
            _ => None,
        }
    }

    #[test]
    fn every_scheme_has_its_digital_link() {
        for (urn, expected) in [
            ("urn:epc:id:sgtin:4012345.011111.98%22", "01/04012345111118/21/98%22"),
            ("urn:epc:id:sgtin:415056789012.0.987654", "01/04150567890128/21/987654"),
            ("urn:epc:id:sgtin:0614141.812345.67!()", "01/80614141123458/21/67%21%28%29"),
            ("urn:epc:id:sscc:4012345.3111111111", "00/340123451111111111"),
            ("urn:epc:id:sgln:4012345.00005.122", "414/4012345000054/254/122"),
            ("urn:epc:id:sgln:4012345.00005.0", "414/4012345000054"),
            ("urn:epc:id:grai:4012345.00022.334455", "8003/04012345000221334455"),
            ("urn:epc:id:giai:4012345.ABC345", "8004/4012345ABC345"),
            ("urn:epc:id:gsrn:4012345.0000006765", "8018/401234500000067657"),
            ("urn:epc:id:gsrnp:4012345.0000000007", "8017/401234500000000074"),
            ("urn:epc:id:gdti:4012345.00009.PO-4711", "253/4012345000092PO-4711"),
            ("urn:epc:id:gdti:987659999999..9", "253/98765999999929"),
            ("urn:epc:id:cpi:0614141.1-A%23%2F.1234", "8010/06141411-A%23%2F/8011/1234"),
            ("urn:epc:id:ginc:0614141.xyz47%2F11", "401/0614141xyz47%2F11"),
            ("urn:epc:id:gsin:4012345.222333444", "402/40123452223334442"),
            ("urn:epc:id:itip:4012345.011111.01.02.987", "8006/040123451111180102/21/987"),
            ("urn:epc:id:upui:1234567.098765.51q)*j", "01/01234567987651/235/51q%29%2Aj"),
            ("urn:epc:id:pgln:4000001.00000", "417/4000001000005"),
            ("urn:epc:id:pgln:999999999999.", "417/9999999999994"),
            ("urn:epc:id:sgcn:4012345.99999.44", "255/401234599999044"),
            ("urn:epc:class:lgtin:4012345.012345.Lot987", "01/04012345123456/10/Lot987"),
            ("urn:epc:idpat:sgtin:4012345.012345.*", "01/04012345123456"),
            ("urn:epc:idpat:grai:4012345.99999.*", "8003/04012345999990"),
            ("urn:epc:idpat:cpi:4012345.AB12.*", "8010/4012345AB12"),
            ("urn:epc:idpat:itip:4012345.012345.01.02.*", "8006/040123451234560102"),
        ] {
            assert_eq!(link(urn), Some(format!("https://id.gs1.org/{expected}")), "{urn}");
        }
    }

    #[test]
    fn a_broken_epc_uri_is_told_from_another_uri() {
        for bad in [
            "urn:epc:id:sgtin:0614141.10734.2017",
            "urn:epc:id:sgtin:061414x.107346.2017",
            "urn:epc:id:sgtin:0614141.107346",
            "urn:epc:id:sgtin:0614141.107346.",
            "urn:epc:id:sgtin:0614141.107346.123456789012345678901",
            "urn:epc:id:sgtin:0614141.107346.*x y",
            "urn:epc:id:sscc:0614141.123",
            "urn:epc:id:sgln:0614141.12345",
            "urn:epc:id:nosuch:1.2",
            "urn:epc:id:lgtin:4012345.012345.1",
            "urn:epc:class:sgtin:4012345.012345.1",
            "urn:epc:idpat:sgtin:4012345.*.1",
            "urn:epc:idpat:sgtin:4012345.012345.1",
            "urn:epc:whatever",
        ] {
            assert_eq!(read(bad), Reading::Malformed, "{bad}");
        }
        assert_eq!(read("urn:uuid:1"), Reading::Other);
        assert_eq!(read("urn:epc:id:gid:1.2.3"), Reading::Other);
        assert!(matches!(read("urn:epc:idpat:sgtin:*.*.*"), Reading::Pattern(_)));
    }
}
