//! The client's mask: four bytes, repeated (RFC 6455 §5.3).

/// Masks or unmasks `data` in place; both are the same exclusive or.
///
/// `offset` is the number of payload bytes of the same frame before `data`, so that a payload may be processed in
/// pieces of any size. Works on 32 bytes a step if there are as many, in a form that compilers vectorise.
///
/// # Example: a payload in two pieces
///
/// ```
/// use tramline_websocket::apply_mask;
///
/// let mut payload = *b"\x7f\x9f\x4d\x51\x58";
/// let (front, back) = payload.split_at_mut(3);
/// apply_mask(front, [0x37, 0xfa, 0x21, 0x3d], 0);
/// apply_mask(back, [0x37, 0xfa, 0x21, 0x3d], 3);
/// assert_eq!(&payload, b"Hello");
/// ```
#[inline]
pub fn apply_mask(data: &mut [u8], mut key: [u8; 4], offset: usize) {
    key.rotate_left(offset % 4);
    let (blocks, rest) = data.as_chunks_mut::<32>();
    if !blocks.is_empty() {
        let wide: [u8; 32] = std::array::from_fn(|i| key[i % 4]);
        for block in blocks {
            for (byte, mask) in block.iter_mut().zip(wide) {
                *byte ^= mask;
            }
        }
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    let word_key = u32::from_ne_bytes(key);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ word_key).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(key) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::apply_mask;

    #[test]
    fn every_length_and_offset_agrees_with_the_definition() {
        let key = [0x12, 0x34, 0x56, 0x78];
        for len in 0..140 {
            for offset in 0..6 {
                let plain: Vec<u8> = (0..len).collect();
                let mut masked = plain.clone();
                apply_mask(&mut masked, key, offset);
                for (i, byte) in plain.iter().enumerate() {
                    assert_eq!(
                        masked[i],
                        byte ^ key[(i + offset) % 4],
                        "byte {i} of {len} at offset {offset}"
                    );
                }
            }
        }
    }
}
