//! The packets of a run as a capture file.

use std::borrow::Cow;
use std::io::{self, Write};

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};

use super::report::{TracedPacket, Way};

/// Exponent of the unit of time: nanoseconds.
const NANOSECONDS: u8 = 9;

/// Direction bits of a packet's flags (pcapng, "enhanced packet block").
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Writes packets as pcapng: raw IP, one interface "tun0", directions as the machine sees them, times since the start
/// of the machine.
///
/// # Errors
/// What `out` says.
pub fn write_pcapng(out: impl Write, packets: &[TracedPacket]) -> io::Result<()> {
    let mut writer = PcapNgWriter::new(out).map_err(as_io)?;
    let interface = InterfaceDescriptionBlock {
        linktype: DataLink::RAW,
        snaplen: 0,
        options: vec![
            InterfaceDescriptionOption::IfName(Cow::Borrowed("tun0")),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ],
    };
    writer.write_pcapng_block(interface).map_err(as_io)?;
    for packet in packets {
        let direction = match packet.way {
            Way::In => INBOUND,
            Way::Out => OUTBOUND,
        };
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: packet.at,
            original_len: packet.bytes.len() as u32,
            data: Cow::Borrowed(&packet.bytes),
            options: vec![EnhancedPacketOption::Flags(direction)],
        };
        writer.write_pcapng_block(block).map_err(as_io)?;
    }
    writer.get_mut().flush()
}

fn as_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let packets = [
            TracedPacket {
                at: Duration::ZERO,
                way: Way::In,
                bytes: vec![0x45; 41],
            },
            TracedPacket {
                at: Duration::from_micros(1_000_001),
                way: Way::Out,
                bytes: vec![0x45; 40],
            },
        ];
        let mut file = Vec::new();
        write_pcapng(&mut file, &packets).unwrap();
        let mut reader = PcapNgReader::new(file.as_slice()).unwrap();
        let mut back = Vec::new();
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::EnhancedPacket(packet) => {
                    let way = match packet.options.as_slice() {
                        [EnhancedPacketOption::Flags(INBOUND)] => Way::In,
                        _ => Way::Out,
                    };
                    back.push(TracedPacket {
                        at: packet.timestamp,
                        way,
                        bytes: packet.data.to_vec(),
                    });
                }
                Block::InterfaceDescription(interface) => {
                    assert_eq!(interface.linktype, DataLink::RAW);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(back, packets);
    }
}
