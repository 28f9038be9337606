//! Hostile peers, at the transport: the core of such a host is honest, what leaves it is not.

use tabswarm_core::{
    content::GROUP_LEN,
    wire::{Data, data_header},
};

use super::bytes::{Body, FileId, Library, Message};

/// What a hostile peer does to the groups it sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tamper {
    /// Sends so many bytes of groups a second on each link, whatever its uplink.
    Drip(u64),
    /// Adds bytes behind the group, within its frame.
    Extend,
    /// Flips one bit.
    Flip,
    /// Sends no groups; everything else is as it should be.
    Mute,
    /// Sends the bytes of another segment.
    Replay,
    /// Sends nothing at all, on no channel.
    Silent,
    /// Sends another group of the segment.
    Swap,
    /// Adds bytes behind the frame.
    Trail,
    /// Cuts the group's last byte off.
    Truncate,
}

impl Tamper {
    /// The five ways to send wrong bytes under a right name.
    pub const POLLUTERS: [Self; 5] = [Self::Extend, Self::Flip, Self::Replay, Self::Swap, Self::Truncate];

    /// What goes out instead of a data message.
    pub(crate) fn change(self, message: Message, library: &Library) -> Message {
        let bytes = message.to_bytes(library);
        let Ok(Some(data)) = Data::decode(&bytes) else { return message };
        let mut group = data.bytes.to_vec();
        match self {
            Self::Extend => group.extend_from_slice(&[0; 7]),
            Self::Flip => group[data.bytes.len() / 2] ^= 0x10,
            Self::Replay | Self::Swap => group = self.other_bytes(&message.body, library),
            Self::Drip(_) | Self::Mute | Self::Silent | Self::Trail => {}
            Self::Truncate => group.truncate(data.bytes.len() - 1),
        }
        let mut changed = data_header(data.request, data.first, group.len());
        changed.extend_from_slice(&group);
        if self == Self::Trail {
            changed.extend_from_slice(&[0; 5]);
        }
        Message { header: Vec::new(), body: Body::raw(changed) }
    }

    /// As many bytes from elsewhere: from the next file, or from the next or previous group of the same.
    fn other_bytes(self, body: &Body, library: &Library) -> Vec<u8> {
        let mut own = Vec::new();
        library.append(body, &mut own);
        let Body::Part { file, start, len } = body else {
            own.reverse();
            return own;
        };
        let (other, from) = match self {
            Self::Replay => (FileId((file.0 + 1) % library.files() as u32), *start),
            _ if start + 2 * u64::from(GROUP_LEN) <= library.len(*file) => {
                (*file, start + u64::from(GROUP_LEN))
            }
            _ => (*file, start.saturating_sub(u64::from(GROUP_LEN))),
        };
        let from = from.min(library.len(other).saturating_sub(*len));
        library.bytes(other, from..from + len).to_vec()
    }
}
