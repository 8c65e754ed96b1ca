//! Records of any bytes, raw and around an authentic envelope: refused or rendered, never a panic, never more memory than
//! the record calls for.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tradelane_keys::{AeadKey, SecretBytes, sha256};
use tradelane_model::pattern::Pattern;
use tradelane_model::shape::{FieldRule, Shape};
use tradelane_model::{Action, Class, ViewSpec};
use tradelane_seal::*;

struct Keys {
    log: Arc<AeadKey>,
    data: Arc<DataKey>,
    dictionary: Arc<Dictionary>,
}

impl OpeningKeys for Keys {
    fn log_key(&self, _: u64) -> Option<Arc<AeadKey>> {
        Some(Arc::clone(&self.log))
    }

    fn data_key(&self, id: u64) -> DataKeyState {
        match id % 4 {
            0 => DataKeyState::Destroyed,
            1 => DataKeyState::Missing,
            _ => DataKeyState::Live(Arc::clone(&self.data)),
        }
    }

    fn dictionary(&self, _: &ProductContext, number: u32) -> Option<Arc<Dictionary>> {
        (number == 1).then(|| Arc::clone(&self.dictionary))
    }
}

/// Raw content, as zstd takes it where there is no magic number.
const DICTIONARY: &[u8] = br#"{"a":"internal","b":"a person","c":["one","two"],"d":{"some name":"a value"}}"#;

struct World {
    keys: Keys,
    product: ProductContext,
    views: Vec<View>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut shape = Shape::default();
    for (at, class) in [("/a", "internal"), ("/b", "pii"), ("/c/*", "confidential"), ("/d/{}", "pii")] {
        let at = Pattern::parse(at).expect("a pattern");
        shape.add_rule(&FieldRule { at, class: Class::named(class), subject: None });
    }
    let rules = Arc::new(Rules::compile(&shape, 1).expect("compiles"));
    let actions =
        [Action::Reveal, Action::Redact, Action::Pseudonym, Action::Token, Action::Partial { first: 1, last: 1 }];
    let views = actions.map(|action| {
        let classes = ["confidential", "pii"].map(|name| (Class::named(name).expect("a class"), action.clone()));
        let spec = ViewSpec { classes: classes.into(), ..ViewSpec::default() };
        let keys = ViewKeys::derive(&SecretBytes::new([1; 32]), "c", "p", 1, "g");
        View::compile(&rules, &rules, &spec, keys).expect("compiles")
    });
    let secret = SecretBytes::new([2; 32]);
    World {
        keys: Keys {
            log: Arc::new(AeadKey::new(&secret)),
            data: Arc::new(DataKey::new(2, secret)),
            dictionary: Arc::new(Dictionary::new(1, DICTIONARY).expect("a dictionary")),
        },
        product: ProductContext::new("acme", "shipments"),
        views: views.into(),
    }
});

fuzz_target!(|data: &[u8]| {
    let world = &*WORLD;
    show(world, data);
    let Some((split, rest)) = data.split_first_chunk::<2>() else { return };
    let (body, sections) = rest.split_at(usize::from(u16::from_le_bytes(*split)).min(rest.len()));
    show(world, &envelope(&world.keys.log, body, sections, None));
    show(world, &envelope(&world.keys.log, body, sections, Some(0)));
    show(world, &envelope(&world.keys.log, body, sections, Some(1)));
    // The same as what a frame holds.
    let mut packed = 0_u32.to_le_bytes().to_vec();
    let mut frame = vec![0; zstd_safe::compress_bound(body.len())];
    let Ok(len) = zstd_safe::compress(frame.as_mut_slice(), body, 1) else { return };
    packed[..4].copy_from_slice(&(len as u32 - 4).to_le_bytes());
    packed.extend_from_slice(&frame[4..len]);
    packed.extend_from_slice(sections);
    show(world, &envelope(&world.keys.log, &packed, &[], Some(0)));
});

fn show(world: &World, record: &[u8]) {
    let Ok(event) = OpenedEvent::open(record, &world.product, &world.keys) else { return };
    let mut scratch = Scratch::default();
    for view in &world.views {
        let mut out = Vec::new();
        if view.render(&event, &world.keys, &mut scratch, &mut out).is_err() {
            assert!(out.is_empty());
        }
    }
    let _ = event.verify_sections(&world.keys);
}

/// What `docs/formats/sealed-event.md` says, around any body; `packed` is the number of a dictionary.
fn envelope(key: &AeadKey, body: &[u8], sections: &[u8], packed: Option<u32>) -> Vec<u8> {
    let mut header = if packed.is_some() { b"TS\x02\x01".to_vec() } else { b"TS\x01\x01".to_vec() };
    header.extend_from_slice(&1_u32.to_le_bytes());
    header.extend_from_slice(&[0; 8 + 8 + 12]);
    header.extend_from_slice(&(body.len() as u32).to_le_bytes());
    let product = sha256(b"tradelane/sealed-event/v1\0acme\0shipments");
    let mut aad = [header.as_slice(), &[0xFF; 4], &product].concat();
    if let Some(number) = packed {
        aad.extend_from_slice(&number.to_le_bytes());
        aad.extend_from_slice(&if number == 0 { [0; 32] } else { sha256(DICTIONARY) });
        header.extend_from_slice(&number.to_le_bytes());
    }
    let mut sealed = body.to_vec();
    key.seal_in_place(&[0; 12], &aad, &mut sealed);
    [header.as_slice(), &sealed, sections].concat()
}
