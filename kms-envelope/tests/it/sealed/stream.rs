//! Streams: chunks, adapters, seeking, sizes.

use std::io::{self, Cursor, Read as _, Seek as _, SeekFrom, Write as _};

use kms_envelope::sealed::stream::{
    ChunkOpener, OpenReader, SealWriter, SeekReader, read_preamble,
};
use proptest::prelude::*;

use super::*;

const CHUNK: usize = 4096;
const FULL: usize = CHUNK + 16;
const LENGTHS: [usize; 9] = [0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 20_000];

fn whole_stream(suite: Suite, len: usize) -> (DekMaterial, Vec<u8>, usize) {
    let material = material(&backends()[0]);
    let message = seal_stream(&material, suite, &plaintext(len));
    let preamble_len = inspect(&message).unwrap().preamble_len();
    (material, message, preamble_len)
}

#[test]
fn a_sealer_and_an_opener_show_how_far_they_are_and_no_secret() {
    let (material, message, start) = whole_stream(Suite::default(), CHUNK);
    let mut opener = material
        .dek()
        .open_stream(&message[..start], &context(), AAD)
        .unwrap();
    opener.push(&message[start..start + 100]).unwrap();
    let mut sealer = material
        .seal_stream(Suite::default(), ChunkSize::MIN, &Counting(1), AAD)
        .unwrap();
    sealer.push(&plaintext(100)).unwrap();
    for shown in [format!("{opener:?}"), format!("{sealer:?}")] {
        assert!(
            shown.contains("state: ") && shown.contains("ChunkSize(12)"),
            "{shown}"
        );
        assert!(shown.len() < 120, "{shown}");
    }
    let shown = format!("{:?}", material.dek());
    assert!(
        shown.contains("Dek") && shown.contains("Backend"),
        "{shown}"
    );
    let adapters = (
        OpenReader::new(io::empty(), opener),
        SealWriter::new(io::sink(), sealer),
    );
    let shown = format!("{adapters:?}");
    for name in [
        "OpenReader",
        "ChunkOpener",
        "SealWriter",
        "ChunkSealer",
        "state: ",
    ] {
        assert!(shown.contains(name), "{name}: {shown}");
    }
}

#[test]
fn chunks_lie_where_the_format_says() {
    for suite in SUITES {
        for len in LENGTHS {
            let (material, message, start) = whole_stream(suite, len);
            let chunks = len.div_ceil(CHUNK).max(1);
            assert_eq!(message.len(), start + len + 16 * chunks);
            let opener = material
                .dek()
                .open_stream(&message[..start], &context(), AAD)
                .unwrap();
            for (index, chunk) in message[start..].chunks(FULL).enumerate() {
                let expected = plaintext(len);
                let expected = &expected[index * CHUNK..len.min((index + 1) * CHUNK)];
                let last = index + 1 == chunks;
                let index = index as u64;
                let opened = |index, last| {
                    let mut chunk = chunk.to_vec();
                    let opened = opener.open_chunk(index, last, &mut chunk);
                    opened.map(|plaintext| plaintext.to_vec())
                };
                assert_eq!(opened(index, last).unwrap(), expected);
                for (index, last) in [(index + 1, last), (index, !last), (1 << 60, last)] {
                    assert_eq!(step(&opened(index, last).unwrap_err()), 3);
                }
            }
        }
    }
}

/// Chunks dropped, doubled, swapped, and taken from another stream or another place.
#[test]
fn every_other_row_of_chunks_is_refused() {
    for suite in SUITES {
        for len in [3 * CHUNK, 2 * CHUNK + 5] {
            let (material, message, start) = whole_stream(suite, len);
            let chunks: Vec<&[u8]> = message[start..].chunks(FULL).collect();
            let rows: [&[usize]; 11] = [
                &[],
                &[0],
                &[2],
                &[0, 1],
                &[0, 2],
                &[1, 2],
                &[1, 0, 2],
                &[0, 0, 2],
                &[0, 1, 1, 2],
                &[0, 1, 2, 2],
                &[2, 1, 0],
            ];
            for row in rows {
                let body: Vec<u8> = row.iter().flat_map(|at| chunks[*at]).copied().collect();
                let changed = [&message[..start], &body].concat();
                let error = open(material.dek(), &changed, &context(), AAD).unwrap_err();
                assert_eq!(step(&error), 3, "{row:?}");
                let opener = material
                    .dek()
                    .open_stream(&changed, &context(), AAD)
                    .unwrap();
                let mut source = Cursor::new(&changed);
                source.set_position(start as u64);
                assert!(
                    SeekReader::new(source, opener)
                        .and_then(|mut reader| io::copy(&mut reader, &mut io::sink()))
                        .is_err(),
                    "{row:?}"
                );
            }
            let sealer = material
                .seal_stream(suite, ChunkSize::MIN, &Counting(99), AAD)
                .unwrap();
            let other: Result<Vec<_>, _> = sealer.seal_all([plaintext(len)]).collect();
            let other = other.unwrap().concat();
            let joined = [&message[..start + FULL], &other[start + FULL..]].concat();
            let error = open(material.dek(), &joined, &context(), AAD).unwrap_err();
            assert_eq!(step(&error), 3);
        }
    }
}

#[test]
fn an_empty_last_chunk_behind_a_full_one_is_refused() {
    for suite in SUITES {
        let (material, message, _) = whole_stream(suite, CHUNK + 1);
        let last = |last: &[u8]| crafted::stream_with_last_chunk(suite, &message, last);
        assert_eq!(last(&plaintext(CHUNK + 1)[CHUNK..]), message);
        let error = open(material.dek(), &last(b""), &context(), AAD).unwrap_err();
        assert_eq!(step(&error), 3);
    }
}

/// Gives out what is verified and nothing else, also when the stream ends in a fault.
#[test]
fn nothing_unverified_comes_out() {
    let len = 3 * CHUNK + 7;
    let (material, message, start) = whole_stream(Suite::Aes256Gcm, len);
    for at in [start, start + FULL - 1, start + FULL, start + 3 * FULL] {
        let mut changed = message.clone();
        changed[at] ^= 1;
        let opener = material
            .dek()
            .open_stream(&changed, &context(), AAD)
            .unwrap();
        let mut out = Vec::new();
        let mut failed = 0;
        for piece in opener.open_all(changed[start..].chunks(100)) {
            match piece {
                Ok(piece) => out.extend(piece),
                Err(error) => {
                    assert_eq!(step(&error), 3);
                    failed += 1;
                }
            }
        }
        assert_eq!(failed, 1);
        assert_eq!(out, plaintext(len)[..(at - start) / FULL * CHUNK]);
    }
}

#[test]
fn after_a_fault_an_opener_stays_shut() {
    let (material, mut message, start) = whole_stream(Suite::Aes256Gcm, 2 * CHUNK);
    message[start] ^= 1;
    let mut opener = material
        .dek()
        .open_stream(&message, &context(), AAD)
        .unwrap();
    assert_eq!(opener.push(&message[start..]).unwrap(), FULL);
    for _ in 0..2 {
        assert_eq!(step(&opener.push(&message[start + FULL..]).unwrap_err()), 3);
        assert!(opener.output().is_empty());
    }
    assert_eq!(step(&opener.finish().unwrap_err()), 3);
}

#[test]
fn a_finished_opener_takes_nothing_more() {
    let (material, message, start) = whole_stream(Suite::default(), 10);
    let mut opener = material
        .dek()
        .open_stream(&message, &context(), AAD)
        .unwrap();
    opener.push(&message[start..]).unwrap();
    opener.finish().unwrap();
    opener.finish().unwrap();
    assert!(opener.push(b"x").is_err());
    assert_eq!(opener.output(), plaintext(10));
}

/// A chunk that did not verify leaves nothing behind that could be taken for another.
#[test]
fn a_seekable_reader_survives_a_chunk_that_does_not_verify() {
    let (material, mut message, start) = whole_stream(Suite::default(), 3 * CHUNK);
    message[start + FULL + 5] ^= 1;
    let opener = material
        .dek()
        .open_stream(&message, &context(), AAD)
        .unwrap();
    let mut source = Cursor::new(message);
    source.set_position(start as u64);
    let mut reader = SeekReader::new(source, opener).unwrap();
    let shown = format!("{reader:?}");
    assert!(
        shown.contains("position: 0") && shown.len() < 300,
        "{shown}"
    );
    let mut first = vec![0; CHUNK];
    for _ in 0..2 {
        reader.rewind().unwrap();
        reader.read_exact(&mut first).unwrap();
        assert_eq!(first, plaintext(CHUNK));
        for _ in 0..2 {
            assert!(reader.read(&mut [0; 8]).is_err());
        }
    }
}

#[test]
fn a_stream_that_was_not_finished_does_not_open() {
    let material = material(&backends()[0]);
    for len in LENGTHS {
        let sealer = material
            .seal_stream(Suite::default(), ChunkSize::MIN, &Counting(1), AAD)
            .unwrap();
        let mut sink = Vec::new();
        let mut writer = SealWriter::new(&mut sink, sealer);
        writer.write_all(&plaintext(len)).unwrap();
        writer.flush().unwrap();
        drop(writer);
        let error = open(material.dek(), &sink, &context(), AAD).unwrap_err();
        assert_eq!(step(&error), 3, "{len}");
    }
}

#[test]
fn a_finished_sealer_takes_nothing_more() {
    let mut sealer = material(&backends()[0])
        .seal_stream(Suite::default(), ChunkSize::MIN, &Counting(1), AAD)
        .unwrap();
    sealer.finish().unwrap();
    sealer.finish().unwrap();
    let message = sealer.output().to_vec();
    assert!(sealer.push(b"x").is_err());
    assert_eq!(sealer.output(), message);
}

/// Takes and gives a few bytes at a time.
struct Halting<T>(T, usize);

impl<T: io::Read> io::Read for Halting<T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = out.len().min(self.1);
        self.0.read(&mut out[..len])
    }
}

impl<T: io::Write> io::Write for Halting<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(self.1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Fails once in this way, and takes everything then.
struct FailsOnce(Option<io::ErrorKind>);

impl io::Write for FailsOnce {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.take() {
            Some(kind) => Err(kind.into()),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_is_told_and_one_that_is_interrupted_is_asked_again() {
    for (kind, told) in [
        (io::ErrorKind::Interrupted, None),
        (io::ErrorKind::BrokenPipe, Some(io::ErrorKind::BrokenPipe)),
    ] {
        let sealer = material(&backends()[0])
            .seal_stream(Suite::default(), ChunkSize::MIN, &Counting(1), AAD)
            .unwrap();
        let finished = SealWriter::new(FailsOnce(Some(kind)), sealer).finish();
        assert_eq!(finished.err().map(|error| error.kind()), told);
    }
}

#[test]
fn the_adapters_write_and_read_the_same_message() {
    for len in LENGTHS {
        for step in [1, 7, 4096, 5000, 100_000] {
            let (material, message, _) = whole_stream(Suite::default(), len);
            let sealer = material
                .seal_stream(Suite::default(), ChunkSize::MIN, &Counting(1), AAD)
                .unwrap();
            let mut writer = SealWriter::new(Halting(Vec::new(), step), sealer);
            for piece in plaintext(len).chunks(step) {
                writer.write_all(piece).unwrap();
            }
            assert_eq!(writer.finish().unwrap().0, message);

            let mut source = Halting(&message[..], step);
            let preamble = read_preamble(&mut source).unwrap();
            let opener = material
                .dek()
                .open_stream(&preamble, &context(), AAD)
                .unwrap();
            let mut opened = Vec::new();
            OpenReader::new(source, opener)
                .read_to_end(&mut opened)
                .unwrap();
            assert_eq!(opened, plaintext(len));
        }
    }
}

#[test]
fn a_reader_ends_with_an_error_where_the_stream_was_cut_off() {
    let (material, message, start) = whole_stream(Suite::default(), 2 * CHUNK + 1);
    for len in start..message.len() {
        let mut source = &message[..len];
        let preamble = read_preamble(&mut source).unwrap();
        let opener = material
            .dek()
            .open_stream(&preamble, &context(), AAD)
            .unwrap();
        let mut reader = OpenReader::new(source, opener);
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        // To ask again does not turn the error into an end.
        assert!(reader.read(&mut [0; 8]).is_err());
    }
    for len in 0..start {
        assert!(read_preamble(&mut &message[..len]).is_err());
    }
}

#[test]
fn a_seekable_reader_knows_the_length_before_it_gives_one() {
    for len in LENGTHS {
        let (material, message, start) = whole_stream(Suite::default(), len);
        let reader = |message: &[u8]| {
            let mut source = Cursor::new(message.to_vec());
            let preamble = read_preamble(&mut source).unwrap();
            let opener = material
                .dek()
                .open_stream(&preamble, &context(), AAD)
                .unwrap();
            SeekReader::new(source, opener)
        };
        assert_eq!(reader(&message).unwrap().plaintext_len(), len as u64);
        for cut in (start..message.len()).step_by(97) {
            assert!(reader(&message[..cut]).is_err(), "{cut} of {len}");
        }
        for full in (start..message.len()).step_by(FULL) {
            assert!(reader(&message[..full]).is_err(), "{full} of {len}");
        }
        for tail in [1, 16, 17, FULL] {
            assert!(reader(&[&message[..], &vec![0; tail]].concat()).is_err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, cases: 64, ..ProptestConfig::default()
    })]

    #[test]
    fn a_seekable_reader_reads_like_a_cursor(
        len in 0..20_000_usize,
        moves in proptest::collection::vec((0..3_u8, -25_000..25_000_i64, 0..6000_usize), 1..20),
    ) {
        let (material, message, start) = whole_stream(Suite::default(), len);
        let mut source = Cursor::new(message);
        source.set_position(start as u64);
        let opener = material.dek().open_stream(source.get_ref(), &context(), AAD).unwrap();
        let mut reader = SeekReader::new(source, opener).unwrap();
        let text = plaintext(len);
        let mut model = Cursor::new(&text[..]);
        for (from, offset, count) in moves {
            let to = match from {
                0 => SeekFrom::Start(offset.unsigned_abs()),
                1 => SeekFrom::Current(offset),
                _ => SeekFrom::End(offset),
            };
            prop_assert_eq!(reader.seek(to).ok(), model.seek(to).ok());
            let mut read = Vec::new();
            let mut expected = Vec::new();
            reader.by_ref().take(count as u64).read_to_end(&mut read).unwrap();
            model.by_ref().take(count as u64).read_to_end(&mut expected).unwrap();
            prop_assert_eq!(read, expected);
        }
    }

    #[test]
    fn pieces_of_any_size_give_the_same_message(
        len in 0..20_000_usize,
        pieces in proptest::collection::vec(1..9000_usize, 1..8),
    ) {
        let (material, message, start) = whole_stream(Suite::default(), len);
        let cut = |bytes: &[u8]| -> Vec<Vec<u8>> {
            let mut rest = bytes;
            let mut out = Vec::new();
            for size in pieces.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, behind) = rest.split_at(rest.len().min(*size));
                out.push(piece.to_vec());
                rest = behind;
            }
            out
        };
        let sealer = material
            .seal_stream(Suite::default(), ChunkSize::MIN, &Counting(1), AAD)
            .unwrap();
        let sealed: Result<Vec<_>, _> = sealer.seal_all(cut(&plaintext(len))).collect();
        prop_assert_eq!(sealed.unwrap().concat(), &message[..]);
        let opener = material.dek().open_stream(&message, &context(), AAD).unwrap();
        let opened: Result<Vec<_>, _> = opener.open_all(cut(&message[start..])).collect();
        prop_assert_eq!(opened.unwrap().concat(), plaintext(len));
    }
}

/// Seals and opens `len` bytes at once, holding neither, and says how much memory that took.
fn memory_for(len: u64) -> u64 {
    let piece = plaintext(1 << 20);
    let mut opened_len = 0_u64;
    let memory = allocation_counter::measure(|| {
        let material = material(&backends()[0]);
        let mut sealer = material
            .seal_stream(Suite::default(), ChunkSize::default(), &Counting(1), AAD)
            .unwrap();
        let mut opener = material
            .dek()
            .open_stream(sealer.output(), &context(), AAD)
            .unwrap();
        sealer.consume(sealer.output().len());
        let mut left = len;
        loop {
            let offset = ((len - left) % piece.len() as u64) as usize;
            let most = left.min((piece.len() - offset) as u64) as usize;
            let taken = sealer.push(&piece[offset..offset + most]).unwrap();
            left -= taken as u64;
            if left == 0 {
                sealer.finish().unwrap();
            }
            while !sealer.output().is_empty() {
                let pushed = opener.push(sealer.output()).unwrap();
                sealer.consume(pushed);
                opened_len += drain(&mut opener, opened_len, &piece);
            }
            if left == 0 {
                break;
            }
        }
        opener.finish().unwrap();
        opened_len += drain(&mut opener, opened_len, &piece);
    });
    assert_eq!(opened_len, len);
    memory.bytes_max
}

fn drain(opener: &mut ChunkOpener, at: u64, piece: &[u8]) -> u64 {
    let len = opener.output().len();
    // Chunks of 64 KiB never cross the end of the piece of 1 MiB.
    let offset = (at % piece.len() as u64) as usize;
    assert!(opener.output() == &piece[offset..offset + len]);
    opener.consume(len);
    len as u64
}

const KIB: u64 = 1024;

#[test]
fn memory_does_not_grow_with_the_stream() {
    let small = memory_for(KIB * KIB);
    let large = memory_for(256 * KIB * KIB);
    assert_eq!(small, large);
    assert!(large < 512 * KIB, "{large} bytes");
}

/// The pieces of a sealed stream of so many MiB, made when they are asked for, and an opener that
/// has had the first of them, the preamble.
fn sealed_on_demand(mebibytes: u64, piece: &[u8]) -> (ChunkOpener, impl Iterator<Item = Vec<u8>>) {
    let material = material(&backends()[0]);
    let sealer = material
        .seal_stream(Suite::default(), ChunkSize::default(), &Counting(1), AAD)
        .unwrap();
    let pieces = (0..mebibytes).map(move |_| piece);
    let mut sealed = sealer.seal_all(pieces).map(Result::unwrap);
    let preamble = sealed.next().unwrap();
    let opener = material.dek().open_stream(&preamble, &context(), AAD);
    (opener.unwrap(), sealed)
}

/// Gives what an iterator yields.
struct Source<I>(I, Cursor<Vec<u8>>);

impl<I: Iterator<Item = Vec<u8>>> io::Read for Source<I> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.1.position() == self.1.get_ref().len() as u64 {
            self.1 = Cursor::new(self.0.next().unwrap_or_default());
        }
        self.1.read(out)
    }
}

#[test]
fn memory_does_not_grow_in_iterators_and_readers() {
    let piece = plaintext(1 << 20);
    let by_iterator = |mebibytes| {
        let memory = allocation_counter::measure(|| {
            let (opener, sealed) = sealed_on_demand(mebibytes, &piece);
            let opened = opener.open_all(sealed);
            let len: usize = opened.map(|piece| piece.unwrap().len()).sum();
            assert_eq!(len as u64, mebibytes * KIB * KIB);
        });
        memory.bytes_max
    };
    let by_reader = |mebibytes| {
        let memory = allocation_counter::measure(|| {
            let (opener, sealed) = sealed_on_demand(mebibytes, &piece);
            let source = Source(sealed, Cursor::default());
            let len = io::copy(&mut OpenReader::new(source, opener), &mut io::sink());
            assert_eq!(len.unwrap(), mebibytes * KIB * KIB);
        });
        memory.bytes_max
    };
    for memory in [&by_iterator as &dyn Fn(u64) -> u64, &by_reader] {
        let (small, large) = (memory(1), memory(32));
        assert_eq!(small, large);
        assert!(large < 768 * KIB, "{large} bytes");
    }
}

/// Nor in a writer: what is full goes on before more is taken.
#[test]
fn memory_does_not_grow_in_a_writer() {
    let piece = plaintext(1 << 20);
    let memory = |mebibytes: u64| {
        let memory = allocation_counter::measure(|| {
            let sealer = material(&backends()[0])
                .seal_stream(Suite::default(), ChunkSize::default(), &Counting(1), AAD)
                .unwrap();
            let mut writer = SealWriter::new(io::sink(), sealer);
            for _ in 0..mebibytes {
                writer.write_all(&piece).unwrap();
            }
            writer.finish().unwrap();
        });
        memory.bytes_max
    };
    let (small, large) = (memory(1), memory(32));
    assert_eq!(small, large);
    assert!(large < 160 * KIB, "{large} bytes");
}

#[test]
#[ignore = "takes many seconds on a slow machine"]
fn memory_does_not_grow_with_ten_gibibytes() {
    let memory = memory_for(10 * KIB * KIB * KIB);
    assert!(memory < 512 * KIB, "{memory} bytes");
}

#[cfg(feature = "tokio")]
mod tokio_io {
    use kms_envelope::sealed::stream::{AsyncOpenReader, AsyncSealWriter, read_preamble_async};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[test]
    fn the_adapters_show_how_far_they_are() {
        let (material, message, start) = whole_stream(Suite::default(), CHUNK);
        let opener = material
            .dek()
            .open_stream(&message[..start], &context(), AAD)
            .unwrap();
        let sealer = material
            .seal_stream(Suite::default(), ChunkSize::MIN, &Counting(1), AAD)
            .unwrap();
        let adapters = (
            AsyncOpenReader::new(tokio::io::empty(), opener),
            AsyncSealWriter::new(tokio::io::sink(), sealer),
        );
        let shown = format!("{adapters:?}");
        for name in [
            "AsyncOpenReader",
            "ChunkOpener",
            "AsyncSealWriter",
            "ChunkSealer",
        ] {
            assert!(shown.contains(name), "{name}: {shown}");
        }
    }

    #[tokio::test]
    async fn tokio_writes_and_reads_the_same_message() {
        for len in LENGTHS {
            for pipe in [1, 100, 100_000] {
                let (material, message, _) = whole_stream(Suite::default(), len);
                let sealer = material
                    .seal_stream(Suite::default(), ChunkSize::MIN, &Counting(1), AAD)
                    .unwrap();
                // A pipe this narrow makes every call wait in the middle.
                let (sink, mut source) = duplex(pipe);
                let write = async {
                    let mut writer = AsyncSealWriter::new(sink, sealer);
                    writer.write_all(&plaintext(len)).await.unwrap();
                    writer.shutdown().await.unwrap();
                };
                let read = async {
                    let mut sealed = Vec::new();
                    source.read_to_end(&mut sealed).await.unwrap();
                    sealed
                };
                let ((), sealed) = tokio::join!(write, read);
                assert_eq!(sealed, message);

                let (mut sink, mut source) = duplex(pipe);
                let write = async {
                    sink.write_all(&message).await.unwrap();
                    drop(sink);
                };
                let read = async {
                    let preamble = read_preamble_async(&mut source).await.unwrap();
                    let opener = material
                        .dek()
                        .open_stream(&preamble, &context(), AAD)
                        .unwrap();
                    let mut opened = Vec::new();
                    AsyncOpenReader::new(source, opener)
                        .read_to_end(&mut opened)
                        .await
                        .unwrap();
                    opened
                };
                let ((), opened) = tokio::join!(write, read);
                assert_eq!(opened, plaintext(len));
            }
        }
    }

    #[test]
    fn memory_does_not_grow_in_tokio_either() {
        let piece = plaintext(1 << 20);
        let material = material(&backends()[0]);
        let mut most = Vec::new();
        for mebibytes in [1, 32] {
            let sealer = material
                .seal_stream(Suite::default(), ChunkSize::default(), &Counting(1), AAD)
                .unwrap();
            let memory = allocation_counter::measure(|| {
                let (sink, mut source) = duplex(1 << 16);
                let mut writer = AsyncSealWriter::new(sink, sealer);
                let write = async {
                    for _ in 0..mebibytes {
                        writer.write_all(&piece).await.unwrap();
                    }
                    writer.shutdown().await.unwrap();
                };
                let read = async {
                    let preamble = read_preamble_async(&mut source).await.unwrap();
                    let opener = material.dek().open_stream(&preamble, &context(), AAD);
                    let mut reader = AsyncOpenReader::new(source, opener.unwrap());
                    let opened = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
                    assert_eq!(opened.unwrap(), mebibytes * KIB * KIB);
                };
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                let both = futures_util::future::join(write, read);
                runtime.unwrap().block_on(both);
            });
            most.push(memory.bytes_max);
        }
        assert_eq!(most[0], most[1]);
        assert!(most[1] < 768 * KIB, "{most:?} bytes");
    }

    #[tokio::test]
    async fn without_shutdown_the_message_does_not_open() {
        let material = material(&backends()[0]);
        for len in LENGTHS {
            let sealer = material
                .seal_stream(Suite::default(), ChunkSize::MIN, &Counting(1), AAD)
                .unwrap();
            let mut writer = AsyncSealWriter::new(Vec::new(), sealer);
            writer.write_all(&plaintext(len)).await.unwrap();
            writer.flush().await.unwrap();
            let message = writer.into_inner();
            let error = open(material.dek(), &message, &context(), AAD).unwrap_err();
            assert_eq!(step(&error), 3);

            let mut source = &message[..];
            let preamble = read_preamble_async(&mut source).await.unwrap();
            let opener = material
                .dek()
                .open_stream(&preamble, &context(), AAD)
                .unwrap();
            let mut reader = AsyncOpenReader::new(source, opener);
            let error = reader.read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn a_preamble_that_is_cut_off_is_an_error() {
        let (_, message, start) = whole_stream(Suite::default(), 10);
        for len in 0..start {
            assert!(read_preamble_async(&mut &message[..len]).await.is_err());
        }
    }
}
