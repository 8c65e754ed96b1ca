//! What a request may make the listener allocate: in proportion to its size, whatever it claims.

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Frame of an API and version with this body; the client has no name.
fn frame(key: u16, version: u16, flexible: bool, body: &[u8]) -> Vec<u8> {
    let mut out = [key.to_be_bytes(), version.to_be_bytes()].concat();
    out.extend_from_slice(&[0, 0, 0, 1, 0, 0]);
    if flexible {
        out.push(0);
    }
    out.extend_from_slice(body);
    out
}

#[test]
fn a_count_of_two_thousand_million_costs_nothing() {
    let claims = [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x07], &[0xff, 0xff, 0xff, 0xff, 0x0f]];
    for (key, ..) in tradelane_kafka::served(true) {
        for version in 0..=13 {
            for claim in claims {
                // The claim at every place of the body, in front of zeros and of ones.
                for at in 0..24 {
                    for filler in [0, 1] {
                        let mut body = vec![filler; at];
                        body.extend_from_slice(claim);
                        body.extend_from_slice(&[filler; 16]);
                        let frames = [false, true].map(|flexible| frame(key as u16, version, flexible, &body));
                        MEMORY.reset_peak_usage();
                        let before = MEMORY.current_usage();
                        for frame in &frames {
                            tradelane_kafka::is_request(frame);
                        }
                        let peak = MEMORY.peak_usage() - before;
                        assert!(peak < 64 << 10, "API {key} v{version} at {at}: {peak} bytes");
                    }
                }
            }
        }
    }
}
