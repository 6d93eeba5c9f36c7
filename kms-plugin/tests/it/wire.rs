//! What arrives on the wire: authorities as Go sends them, and bytes as an attacker sends them.

use std::time::Duration;

use kms_plugin::client::{ClientOptions, V2Client};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::support::{Served, current, ms, provider, quick, still, well};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PROTOCOL_ERROR: u32 = 1;

/// RFC 9113, section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A literal field without indexing and without Huffman coding (RFC 7541, section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        let mut length = text.len();
        if length < 127 {
            bytes.push(u8::try_from(length).unwrap());
        } else {
            bytes.push(127);
            length -= 127;
            while length >= 128 {
                bytes.push(u8::try_from(length % 128 + 128).unwrap());
                length /= 128;
            }
            bytes.push(u8::try_from(length).unwrap());
        }
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn request_fields(authority: &str) -> Vec<u8> {
    [
        field(":method", "POST"),
        field(":scheme", "http"),
        field(":path", "/v2.KeyManagementService/Status"),
        field(":authority", authority),
        field("content-type", "application/grpc"),
        field("te", "trailers"),
    ]
    .concat()
}

/// A whole Status call on stream 1.
fn status_call(authority: &str) -> Vec<u8> {
    [
        PREFACE.to_vec(),
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, &request_fields(authority)),
        frame(DATA, END_STREAM, 1, &[0; 5]),
    ]
    .concat()
}

#[derive(Debug, PartialEq)]
enum Answer {
    /// The message, with its gRPC prefix.
    Message(Vec<u8>),
    /// Headers that end the stream at once: an error without a message.
    HeadersOnly,
    Reset(u32),
    GoAway,
    Closed,
}

/// Reads frames up to the one that settles stream 1.
async fn answer(stream: &mut UnixStream) -> Answer {
    let read = async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return Answer::Closed;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if stream.read_exact(&mut payload).await.is_err() {
                return Answer::Closed;
            }
            match (head[3], head[8]) {
                (DATA, 1) if !payload.is_empty() => return Answer::Message(payload),
                (HEADERS, 1) if head[4] & END_STREAM != 0 => return Answer::HeadersOnly,
                (RST_STREAM, 1) => {
                    return Answer::Reset(u32::from_be_bytes(payload[..4].try_into().unwrap()));
                }
                (GOAWAY, _) => return Answer::GoAway,
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .expect("an answer")
}

async fn connect(served: &Served) -> UnixStream {
    let path = match (served.address.path(), served.address.abstract_name()) {
        (Some(path), _) => path.as_os_str().to_owned(),
        (None, name) => format!("\0{}", name.unwrap()).into(),
    };
    UnixStream::connect(path).await.unwrap()
}

async fn ask(served: &Served, authority: &str) -> Answer {
    let mut stream = connect(served).await;
    stream.write_all(&status_call(authority)).await.unwrap();
    answer(&mut stream).await
}

#[tokio::test]
async fn the_authority_of_kubernetes_1_32_and_later_is_accepted() {
    let served = Served::new(still(provider())).await;
    let Answer::Message(message) = ask(&served, "localhost").await else {
        panic!("no message");
    };
    let text = String::from_utf8_lossy(&message).into_owned();
    assert!(text.contains("ok") && text.contains("static-1"), "{text:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_authority_of_older_ones_is_accepted_over_an_abstract_socket() {
    let name = format!("kms-plugin-test-{}-wire", std::process::id());
    let address = kms_plugin::socket::SocketAddress::from_abstract_name(&name).unwrap();
    let served = Served::at(&address, still(provider())).await;
    // What grpc-go makes of the dialled address; it does not escape the `@`.
    let answer = ask(&served, &format!("@{name}")).await;
    assert!(matches!(answer, Answer::Message(_)), "{answer:?}");
}

/// A limit of the HTTP/2 library that the documentation tells; if this fails, it can be told
/// otherwise.
#[tokio::test]
async fn the_path_as_authority_is_refused_by_the_library() {
    let served = Served::new(still(provider())).await;
    for authority in ["/run/kms.sock", "%2Frun%2Fkms.sock"] {
        assert_eq!(
            ask(&served, authority).await,
            Answer::Reset(PROTOCOL_ERROR),
            "{authority}"
        );
    }
    current(&served.client()).await.unwrap();
}

#[tokio::test]
async fn hostile_bytes_do_not_stop_the_server() {
    let served = Served::new(quick(provider())).await;
    let client = served.client();
    well(&client).await;
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let good = status_call("localhost");
    for round in 0..200_usize {
        let mut bytes = vec![0; 1 + round * 7 % 900];
        random.fill_bytes(&mut bytes);
        match round % 4 {
            // Noise; noise after the preface; a call with one byte changed; a call cut off.
            0 => {}
            1 => bytes = [PREFACE, &bytes].concat(),
            2 => {
                let place = usize::from(bytes[0]) % good.len();
                let flip = bytes.last().copied().unwrap() | 1;
                bytes.clone_from(&good);
                bytes[place] ^= flip;
            }
            _ => bytes = good[..round % good.len()].to_vec(),
        }
        let mut stream = connect(&served).await;
        // The server may close before it has read everything.
        let _ = stream.write_all(&bytes).await;
    }
    assert!(matches!(
        ask(&served, "localhost").await,
        Answer::Message(_)
    ));
    current(&client).await.unwrap();
    assert!(served.plugin.health().is_ready());
}

#[tokio::test]
async fn a_header_list_over_its_limit_is_refused() {
    let served = Served::new(still(provider())).await;
    let mut fields = request_fields("localhost");
    fields.extend(field("x-large", &"v".repeat(40_000)));
    let mut pieces = fields.chunks(16_000).peekable();
    let mut bytes = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() {
            END_HEADERS
        } else {
            0
        };
        bytes.extend(frame(kind, flags, 1, piece));
        kind = CONTINUATION;
    }
    bytes.extend(frame(DATA, END_STREAM, 1, &[0; 5]));
    let mut stream = connect(&served).await;
    let _ = stream.write_all(&bytes).await;
    let answer = answer(&mut stream).await;
    assert!(!matches!(answer, Answer::Message(_)), "{answer:?}");
    current(&served.client()).await.unwrap();
}

#[tokio::test]
async fn a_request_that_trickles_in_is_answered_in_time() {
    let served = Served::new(still(provider()).call_limit(ms(200))).await;
    well(&served.client()).await;
    let mut stream = connect(&served).await;
    let begun = [
        PREFACE.to_vec(),
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, &request_fields("localhost")),
        frame(DATA, 0, 1, &[0, 0]),
    ]
    .concat();
    stream.write_all(&begun).await.unwrap();
    assert_eq!(answer(&mut stream).await, Answer::HeadersOnly);
}

#[tokio::test]
async fn a_message_that_claims_to_be_endless_is_refused() {
    let served = Served::new(still(provider())).await;
    let bytes = [
        PREFACE.to_vec(),
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, &request_fields("localhost")),
        frame(DATA, 0, 1, &[0, 0xff, 0xff, 0xff, 0xff]),
    ]
    .concat();
    let mut stream = connect(&served).await;
    stream.write_all(&bytes).await.unwrap();
    assert_eq!(answer(&mut stream).await, Answer::HeadersOnly);
}

#[tokio::test(start_paused = true)]
async fn clients_that_never_finish_their_handshake_hold_no_place() {
    let served = Served::new(still(provider())).await;
    let mut held = Vec::new();
    // As many as there are places, stopped after each byte of the preface but the last.
    for number in 0..64 {
        let mut stream = connect(&served).await;
        let begun = &PREFACE[..1 + number % (PREFACE.len() - 1)];
        stream.write_all(begun).await.unwrap();
        held.push(stream);
    }
    let options = ClientOptions::default().with_timeout(Duration::from_secs(60));
    let client = V2Client::new(served.address.clone(), options);
    current(&client).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_what_has_no_call() {
    let served = Served::new(still(provider()).stop_limit(Duration::from_secs(15))).await;
    well(&served.client()).await;
    // One in the middle of its handshake, and one that has finished it and answers nothing.
    let mut half = connect(&served).await;
    half.write_all(&PREFACE[..7]).await.unwrap();
    let mut mute = connect(&served).await;
    let handshake = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    mute.write_all(&handshake).await.unwrap();
    let mut head = [0; 9];
    mute.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], SETTINGS);
    let begun = tokio::time::Instant::now();
    served.stop().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_may_not_take_any_time_counts_calls_and_not_connections() {
    let served = Served::new(still(provider()).stop_limit(Duration::ZERO)).await;
    let client = served.client();
    well(&client).await;
    served.stop().await.unwrap();
}
