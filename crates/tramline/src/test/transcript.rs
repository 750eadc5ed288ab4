//! The transcript of a test's conversation, which explains failures.

use std::collections::VecDeque;
use std::fmt;

use tokio::time::Instant;
use tramline_stomp::Headers;

/// The number of lines kept: the last ones explain a failure.
const LINES: usize = 200;

/// Characters of a body that are shown.
const BODY: usize = 200;

/// Headers whose values are not shown, in lower case.
const SECRETS: [&str; 4] = ["passcode", "authorization", "cookie", "token"];

/// A conversation as text, one frame a line, with the runtime's time since it began.
pub(super) struct Transcript {
    began: Instant,
    lines: VecDeque<Line>,
    dropped: usize,
}

enum Line {
    Said(String),
    /// Of the client and of the server, if nothing else came in between.
    HeartBeats(u64, u64),
}

impl Transcript {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            lines: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Records the client's output: one encoded frame or heart-beat.
    pub(super) fn sent(&mut self, frame: &[u8]) {
        if frame == b"\n" {
            return self.heart_beat(1, 0);
        }
        let end = frame.windows(2).position(|two| two == b"\n\n");
        let (head, rest) = frame.split_at(end.unwrap_or(frame.len()));
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let command = lines.next().unwrap_or_default();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let body = rest.strip_prefix(b"\n\n").unwrap_or(rest);
        let body = body.strip_suffix(b"\0").unwrap_or(body);
        self.say(&format!(">> {}", shown(command, headers, body)));
    }

    /// Records a frame of the server.
    pub(super) fn heard(&mut self, command: &str, headers: &Headers, body: &[u8]) {
        self.say(&format!("<< {}", shown(command, headers.iter(), body)));
    }

    /// Records a heart-beat of the server.
    pub(super) fn heard_heart_beat(&mut self) {
        self.heart_beat(0, 1);
    }

    /// Records a line that is no frame.
    pub(super) fn remark(&mut self, remark: &str) {
        self.say(&format!("-- {remark}"));
    }

    fn heart_beat(&mut self, client: u64, server: u64) {
        if let Some(Line::HeartBeats(clients, servers)) = self.lines.back_mut() {
            *clients += client;
            *servers += server;
        } else {
            self.push(Line::HeartBeats(client, server));
        }
    }

    fn say(&mut self, text: &str) {
        let at = self.began.elapsed().as_secs_f64();
        self.push(Line::Said(format!("{at:>8.1}s {text}")));
    }

    fn push(&mut self, line: Line) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(line);
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dropped > 0 {
            writeln!(f, "          ({} lines before)", self.dropped)?;
        }
        for line in &self.lines {
            match line {
                Line::Said(text) => writeln!(f, "{text}")?,
                Line::HeartBeats(client, server) => {
                    writeln!(f, "          heart-beats: {client} >>, {server} <<")?;
                }
            }
        }
        Ok(())
    }
}

fn shown<'a>(
    command: &str,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    body: &[u8],
) -> String {
    let mut text = command.to_owned();
    for (name, value) in headers.filter(|(name, _)| *name != "content-length") {
        let lower = name.to_ascii_lowercase();
        let secret = SECRETS.iter().any(|secret| lower.contains(secret));
        let value = if secret { "***" } else { value };
        text.extend([" ", name, ":", &value.escape_debug().to_string()]);
    }
    if !body.is_empty() {
        text.extend([" | ", &shown_body(body)]);
    }
    text
}

/// A body in one line, or the beginning of a long one.
pub(super) fn shown_body(body: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(body) else {
        return format!("({} bytes that are not UTF-8)", body.len());
    };
    let mut shown: String = text.chars().take(BODY).collect();
    if shown.len() < text.len() {
        shown.push_str(&format!("… ({} bytes)", text.len()));
    }
    shown.replace(char::is_control, "␤")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_left_out_and_long_bodies_cut() {
        let mut transcript = Transcript::new();
        transcript.sent(b"CONNECT\nlogin:ann\npasscode:hunter2\nAuthorization:Bearer x\n\n\0");
        transcript.sent(format!("SEND\ndestination:/app/a\n\n{}\0", "é".repeat(201)).as_bytes());
        transcript.sent(b"SEND\ndestination:/app/a\ncontent-length:1\n\n\xff\0");
        let text = transcript.to_string();
        assert!(text.contains("login:ann passcode:*** Authorization:***\n"));
        assert!(!text.contains("hunter2") && !text.contains("Bearer"));
        let cut = format!("{}… (402 bytes)\n", "é".repeat(200));
        assert!(text.contains(&cut), "{text}");
        assert!(text.contains("destination:/app/a | (1 bytes that are not UTF-8)\n"));
    }

    #[test]
    fn heart_beats_share_a_line_and_old_lines_make_room() {
        let mut transcript = Transcript::new();
        for _ in 0..3 {
            transcript.sent(b"\n");
            transcript.heard_heart_beat();
        }
        assert_eq!(
            transcript.to_string(),
            "          heart-beats: 3 >>, 3 <<\n"
        );
        for n in 0..LINES {
            transcript.remark(&n.to_string());
        }
        let text = transcript.to_string();
        assert!(text.starts_with("          (1 lines before)\n") && text.ends_with("-- 199\n"));
        assert_eq!(text.lines().count(), LINES + 1);
    }
}
