//! Reads a PNG's header and nothing more: enough to refuse an image that is too large before
//! anything would decode it. [PNG specification, section 11.2.2 IHDR].

use crate::error::{Error, Reason, Result};

/// Most bytes an image file may have (2 MiB).
pub const MAX_PNG_BYTES: usize = 2 * 1024 * 1024;
/// Most pixels an image may have (4 megapixels).
pub const MAX_PNG_PIXELS: u64 = 4_000_000;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Signature, then IHDR: length, type, 13 bytes of data, CRC.
const HEADER_BYTES: usize = 8 + 4 + 4 + 13 + 4;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PngSize {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// The size a PNG's header declares, refused as [`Reason::NotAPng`] or [`Reason::ImageTooLarge`].
pub fn inspect(data: &[u8]) -> Result<PngSize> {
    if data.len() > MAX_PNG_BYTES {
        return Err(Error::new(
            Reason::ImageTooLarge,
            format!(
                "the image has {} bytes; at most {MAX_PNG_BYTES} are allowed: scale it down or \
                 compress it",
                data.len()
            ),
        ));
    }
    let (size, depth_and_method) = header(data).ok_or_else(|| {
        Error::new(
            Reason::NotAPng,
            "not a PNG image: its header is missing or damaged; export it as PNG again",
        )
    })?;
    let known_form = matches!(
        depth_and_method,
        // (bit depth, colour type) pairs of PNG table 11.1; deflate, adaptive filters, plain or
        // Adam7.
        [1 | 2 | 4 | 8 | 16, 0, 0, 0, 0 | 1]
            | [8 | 16, 2 | 4 | 6, 0, 0, 0 | 1]
            | [1 | 2 | 4 | 8, 3, 0, 0, 0 | 1]
    );
    if !known_form || size.width == 0 || size.height == 0 {
        return Err(Error::new(
            Reason::NotAPng,
            "the PNG header declares an image that does not exist in PNG; export it as PNG again",
        ));
    }
    let pixels = u64::from(size.width) * u64::from(size.height);
    if pixels > MAX_PNG_PIXELS {
        return Err(Error::new(
            Reason::ImageTooLarge,
            format!(
                "the image is {} x {} pixels; at most {MAX_PNG_PIXELS} pixels are allowed: scale \
                 it down",
                size.width, size.height
            ),
        ));
    }
    Ok(size)
}

fn header(data: &[u8]) -> Option<(PngSize, [u8; 5])> {
    let rest = data.get(..HEADER_BYTES)?.strip_prefix(SIGNATURE)?.strip_prefix(&[0, 0, 0, 13])?;
    let (checked, crc) = rest.split_at_checked(4 + 13)?;
    if crc32fast::hash(checked).to_be_bytes() != *crc {
        return None;
    }
    let rest = checked.strip_prefix(b"IHDR")?;
    let (width, rest) = rest.split_first_chunk::<4>()?;
    let (height, rest) = rest.split_first_chunk::<4>()?;
    let size = PngSize { width: u32::from_be_bytes(*width), height: u32::from_be_bytes(*height) };
    Some((size, *rest.first_chunk::<5>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32, tail: [u8; 5]) -> Vec<u8> {
        let mut chunk = b"IHDR".to_vec();
        chunk.extend(width.to_be_bytes());
        chunk.extend(height.to_be_bytes());
        chunk.extend(tail);
        let crc = crc32fast::hash(&chunk);
        [SIGNATURE, &[0, 0, 0, 13], &chunk, &crc.to_be_bytes()].concat()
    }

    /// A header's size is read, big-endian.
    #[test]
    fn reads_the_size() {
        assert_eq!(
            inspect(&png(320, 100, [8, 6, 0, 0, 0])),
            Ok(PngSize { width: 320, height: 100 })
        );
    }

    /// Exactly the limit passes, one row more does not, and a product beyond 32 bits is no way
    /// round.
    #[test]
    fn refuses_too_many_pixels() {
        assert!(inspect(&png(2000, 2000, [8, 2, 0, 0, 0])).is_ok());
        for (width, height) in [(2000, 2001), (u32::MAX, u32::MAX), (65_536, 65_536)] {
            let error = inspect(&png(width, height, [8, 2, 0, 0, 0])).unwrap_err();
            assert_eq!(error.reason, Reason::ImageTooLarge);
        }
    }

    /// Too many bytes are refused before the header is looked at.
    #[test]
    fn refuses_too_many_bytes() {
        let mut data = png(1, 1, [8, 6, 0, 0, 0]);
        data.resize(MAX_PNG_BYTES, 0);
        assert!(inspect(&data).is_ok());
        data.push(0);
        assert_eq!(inspect(&data).unwrap_err().reason, Reason::ImageTooLarge);
    }

    /// Every cut of a header and every flipped bit in it is refused.
    #[test]
    fn refuses_damaged_headers() {
        let good = png(38, 38, [8, 6, 0, 0, 0]);
        for length in 0..good.len() {
            assert_eq!(inspect(&good[..length]).unwrap_err().reason, Reason::NotAPng);
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(inspect(&bad).is_err(), "bit {bit}");
        }
    }

    /// Forms that PNG does not have, and empty images, are refused.
    #[test]
    fn refuses_impossible_forms() {
        for tail in [
            [3, 0, 0, 0, 0],
            [4, 2, 0, 0, 0],
            [16, 3, 0, 0, 0],
            [8, 5, 0, 0, 0],
            [8, 6, 1, 0, 0],
            [8, 6, 0, 1, 0],
            [8, 6, 0, 0, 2],
        ] {
            assert_eq!(inspect(&png(1, 1, tail)).unwrap_err().reason, Reason::NotAPng, "{tail:?}");
        }
        assert_eq!(inspect(&png(0, 1, [8, 6, 0, 0, 0])).unwrap_err().reason, Reason::NotAPng);
        assert_eq!(inspect(&png(1, 0, [8, 6, 0, 0, 0])).unwrap_err().reason, Reason::NotAPng);
    }
}
