//! Addresses of crypto currencies: base58 with a double SHA-256, bech32 and bech32m (BIP 173 and
//! 350), and Ethereum's mixed-case checksum (EIP-55).

use super::context::ends_with_marker;
use super::digest::{keccak256, sha256};
use crate::lexer::{End, Found, Lexer, Next, byte_before};
use ringfence_core::detection::Label;
use ringfence_core::ids::RuleId;

// LIMIT: BIP 173 allows 90 characters; base58 and Ethereum need fewer.
const ADDRESS_BYTES_MAX: usize = 90;
const ADDRESS_BYTES_MIN: usize = 26;
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// Version bytes in use: Bitcoin and Bitcoin Cash, their test net, Litecoin, Dogecoin, Dash, TRON.
const VERSIONS: [u8; 9] = [0x00, 0x05, 0x6f, 0xc4, 0x30, 0x32, 0x1e, 0x4c, 0x41];
const PREFIXES: [&[u8]; 4] = [b"bc", b"tb", b"ltc", b"addr"];

/// 21 bytes and the first four of their double digest.
fn base58check(token: &[u8]) -> bool {
    let mut value = [0_u8; 25];
    for b in token {
        let Some(digit) = BASE58.iter().position(|c| c == b) else {
            return false;
        };
        let mut carry = u32::try_from(digit).unwrap_or(0);
        for byte in value.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = u8::try_from(carry & 0xff).unwrap_or(0);
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let (body, check) = value.split_at(21);
    body.first().is_some_and(|v| VERSIONS.contains(v)) && sha256(&sha256(body)).starts_with(check)
}

fn bech32(token: &[u8]) -> bool {
    let lower = token.to_ascii_lowercase();
    if lower != token && token.to_ascii_uppercase() != token {
        return false;
    }
    let Some(mark) = lower.iter().rposition(|b| *b == b'1') else {
        return false;
    };
    let (prefix, data) = (lower.get(..mark), lower.get(mark + 1..));
    let (Some(prefix), Some(data)) = (prefix.filter(|p| PREFIXES.contains(p)), data) else {
        return false;
    };
    let mut check = 1_u32;
    let mut feed = |v: u32| {
        let top = check >> 25;
        check = (check & 0x01ff_ffff) << 5 ^ v;
        for (i, g) in [
            0x3b6a_57b2,
            0x2650_8e6d,
            0x1ea1_19fa,
            0x3d42_33dd,
            0x2a14_62b3,
        ]
        .iter()
        .enumerate()
        {
            if top >> i & 1 == 1 {
                check ^= g;
            }
        }
    };
    for b in prefix {
        feed(u32::from(b >> 5));
    }
    feed(0);
    for b in prefix {
        feed(u32::from(b & 31));
    }
    for b in data {
        let Some(v) = BECH32.iter().position(|c| c == b) else {
            return false;
        };
        feed(u32::try_from(v).unwrap_or(0));
    }
    matches!(check, 1 | 0x2bc8_30a3)
}

/// 0 for no address, else the confidence: mixed case must pass the checksum.
fn ethereum(token: &[u8]) -> u32 {
    let Some(digits) = token.strip_prefix(b"0x").filter(|d| d.len() == 40) else {
        return 0;
    };
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return 0;
    }
    let lower = digits.to_ascii_lowercase();
    if lower == digits || digits.to_ascii_uppercase() == digits {
        return 700;
    }
    let hash = keccak256(&lower);
    let right = digits.iter().enumerate().all(|(i, b)| {
        let nibble = hash
            .get(i / 2)
            .map_or(0, |h| if i % 2 == 0 { h >> 4 } else { h & 15 });
        b.is_ascii_digit() || b.is_ascii_uppercase() == (nibble >= 8)
    });
    u32::from(right) * 1000
}

fn score(token: &[u8]) -> u32 {
    if !(ADDRESS_BYTES_MIN..=ADDRESS_BYTES_MAX).contains(&token.len()) {
        return 0;
    }
    let coin = token.len() <= 35 && base58check(token) || bech32(token);
    if coin { 1000 } else { ethereum(token) }
}

/// The recogniser of crypto addresses.
#[derive(Clone, Copy, Debug, Default)]
pub struct CryptoAddresses;

impl Lexer for CryptoAddresses {
    fn left_context(&self) -> usize {
        48
    }

    fn next(&self, text: &str, from: usize, end: End) -> Next {
        let bytes = text.as_bytes();
        let mut at = from;
        while let Some(start) = bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(u8::is_ascii_alphanumeric))
            .map(|i| at + i)
        {
            let length = bytes
                .get(start..)
                .unwrap_or_default()
                .iter()
                .take_while(|b| b.is_ascii_alphanumeric())
                .count();
            let stop = start + length;
            let inside = byte_before(text, start).is_some_and(|b| {
                b.is_ascii_alphanumeric() || matches!(b, b'_' | b'/' | b'+' | b'=')
            }) || ends_with_marker(text, start);
            if stop == bytes.len() && end == End::Open && !inside && length <= ADDRESS_BYTES_MAX {
                return Next::ClearTo(start);
            }
            let goes_on = bytes
                .get(stop)
                .is_some_and(|b| matches!(b, b'_' | b'/' | b'+' | b'=' | b'['));
            let token = bytes.get(start..stop).unwrap_or_default();
            if !inside && !goes_on && length >= ADDRESS_BYTES_MIN {
                let score = score(token);
                if score > 0 {
                    return Next::Hit(Found {
                        rule: RuleId::of("pii/crypto-address"),
                        label: Label::CryptoAddress,
                        span: start..stop,
                        score,
                    });
                }
            }
            at = stop;
        }
        Next::ClearTo(text.len())
    }
}

super::detector!(
    CryptoAddresses,
    "detect/crypto-address",
    Label::CryptoAddress,
    ADDRESS_BYTES_MAX + 1
);
