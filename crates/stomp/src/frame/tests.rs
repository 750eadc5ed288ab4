use super::*;

fn wire(frame: &Frame, version: Version) -> String {
    String::from_utf8(frame.to_bytes(version).to_vec()).unwrap()
}

#[test]
fn a_frame_without_anything() {
    let frame = Frame::new(Command::Disconnect);
    assert_eq!(wire(&frame, Version::V1_2), "DISCONNECT\n\n\0");
}

#[test]
fn headers_keep_their_order_and_repetitions() {
    let frame = Frame::new(Command::Subscribe)
        .header("b", "1")
        .header("a", "2")
        .header("b", "3");
    assert_eq!(
        wire(&frame, Version::V1_2),
        "SUBSCRIBE\nb:1\na:2\nb:3\n\n\0"
    );
}

#[test]
fn content_length_is_computed_and_last() {
    let frame = Frame::new(Command::Send)
        .header("content-length", "77")
        .header("a", "1")
        .body("Größe");
    assert_eq!(
        wire(&frame, Version::V1_0),
        "SEND\na:1\ncontent-length:7\n\nGröße\0"
    );

    let empty = Frame::new(Command::Error);
    assert_eq!(wire(&empty, Version::V1_2), "ERROR\ncontent-length:0\n\n\0");
}

#[test]
fn only_frames_that_may_have_a_body_write_one() {
    let frame = Frame::new(Command::Receipt)
        .header("content-length", "3")
        .body("abc");
    assert_eq!(wire(&frame, Version::V1_2), "RECEIPT\n\n\0");
}

#[test]
fn handshake_frames_are_not_escaped_and_not_split() {
    let frame = Frame::new(Command::Connected).header("user-name", "a:b\\c\nadmin:true");
    assert_eq!(
        wire(&frame, Version::V1_2),
        "CONNECTED\nuser-name:a:b\\c admin:true\n\n\0"
    );
}

#[test]
fn names_are_escaped_like_values() {
    let frame = Frame::new(Command::Message).header("a:b\n", "c\r");
    let tail = "\ncontent-length:0\n\n\0";
    assert_eq!(
        wire(&frame, Version::V1_2),
        format!("MESSAGE\na\\cb\\n:c\\r{tail}")
    );
    assert_eq!(
        wire(&frame, Version::V1_1),
        format!("MESSAGE\na\\cb\\n:c {tail}")
    );
    assert_eq!(
        wire(&frame, Version::V1_0),
        format!("MESSAGE\na b :c {tail}")
    );
}

#[test]
fn an_empty_name_is_left_out() {
    let frame = Frame::new(Command::Begin).header("", "x").header("y", "");
    assert_eq!(wire(&frame, Version::V1_2), "BEGIN\ny:\n\n\0");
}

#[test]
fn head_and_tail_are_one_message() {
    let headers = Headers::from_iter([
        ("subscription", "forged"),
        ("message-id", "forged"),
        ("destination", "forged"),
        ("x", "1"),
    ]);
    let mut whole = encode_message_head(Version::V1_2, "sub:0");
    encode_message_tail(
        Version::V1_2,
        "m-1",
        "/topic/a",
        &headers,
        b"\0",
        &mut whole,
    );
    assert_eq!(
        String::from_utf8(whole).unwrap(),
        "MESSAGE\nsubscription:sub\\c0\nmessage-id:m-1\ndestination:/topic/a\nx:1\n\
         content-length:1\n\n\0\0"
    );
}

#[test]
fn decimals() {
    for number in [0, 9, 10, 12_345, u64::MAX] {
        let mut out = Vec::new();
        write_decimal(number, &mut out);
        assert_eq!(out, number.to_string().into_bytes());
    }
}
