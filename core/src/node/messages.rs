//! What peers say on their links.

use std::ops::Range;

use super::{Node, disk::Reader, io::Event, links::Link};
use crate::{
    bounded::BoundedVec,
    content::GroupList,
    guard::Violation,
    id::{ContentId, FetchId, LinkId, RequestId},
    kad::OverlayMessage,
    swarm::Answer,
    time::Timestamp,
    units::GroupIndex,
    wire::{
        Data, Have, Held, LinkMessage, ListPart, MAX_DATA_LEN, MAX_LIST_PART, MAX_MESSAGE_LEN, RejectReason,
        frames,
    },
};

impl Node {
    #[inline(never)]
    pub(super) fn handle_control(&mut self, link: LinkId, message: &[u8], now: Timestamp) {
        if message.len() > MAX_MESSAGE_LEN {
            self.violation(link, Violation::Malformed, now);
            return;
        }
        for frame in frames(message) {
            let read = frame.and_then(|frame| Ok((LinkMessage::decode(&frame)?, frame)));
            let (message, overlay) = match read {
                Ok((Some(message), _)) => (Some(message), None),
                Ok((None, frame)) if self.is_ready(link) => match OverlayMessage::decode(&frame) {
                    Ok(message) => (None, message),
                    Err(_) => return self.violation(link, Violation::Malformed, now),
                },
                Ok((None, _)) => (None, None),
                Err(_) => return self.violation(link, Violation::Malformed, now),
            };
            if !self.pay(link, message.as_ref().map_or(1, cost), now) {
                return;
            }
            // docs/protocol.md §2: an unknown type is skipped.
            match (message, overlay) {
                (Some(message), _) => self.handle_message(link, message, now),
                (None, Some(message)) => self.handle_overlay(link, message, now),
                (None, None) => {}
            }
        }
    }

    /// Takes the price of a message out of the peer's allowance, or bans it.
    fn pay(&mut self, link: LinkId, price: u32, now: Timestamp) -> bool {
        let Some(state) = self.links.get_mut(&link) else { return false };
        let paid = state.control.take_many(price, now);
        if !paid {
            self.violation(link, Violation::TooManyMessages, now);
        }
        paid
    }

    fn handle_message(&mut self, link: LinkId, message: LinkMessage, now: Timestamp) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if !state.is_ready() {
            match message {
                LinkMessage::Hello(hello) => self.handle_hello(link, &hello, now),
                LinkMessage::Bye(reason) => self.handle_bye(link, reason, now),
                _ => self.violation(link, Violation::BadHello, now),
            }
            return;
        }
        match message {
            // A certificate took another's place.
            LinkMessage::Hello(hello) => self.handle_hello(link, &hello, now),
            LinkMessage::Bye(reason) => self.handle_bye(link, reason, now),
            LinkMessage::Ping(number) => self.say(link, &LinkMessage::Pong(number)),
            LinkMessage::Pong(number) => self.handle_pong(link, number, now),
            LinkMessage::Have(have) => self.handle_have(link, &have, now),
            LinkMessage::Lost(contents) => self.forget_claims(link, &contents),
            LinkMessage::Request(request) => self.handle_request(link, &request, now),
            LinkMessage::Cancel(request) => {
                state.giving.drop_uploads(request);
                self.stop_reading(link, request);
            }
            LinkMessage::Reject(request, reason) => {
                let refused = match reason {
                    RejectReason::Busy(serves) => state.asking.choked(request, serves, now),
                    RejectReason::NotHeld | RejectReason::Taken => state.asking.rejected(request),
                };
                let Some((content, groups)) = refused else { return };
                match reason {
                    RejectReason::Busy(_) => self.busy = Some(now),
                    // Whatever it claimed, it does not hold it now.
                    RejectReason::NotHeld => state.claims.remove(&content),
                    RejectReason::Taken => state.claims.forget_offer(&content, &groups),
                }
                self.stir();
                self.unask(link, &content, &groups);
            }
            LinkMessage::GetList(content) => self.send_list(link, &content, now),
            LinkMessage::ListPart(part) => self.handle_list_part(link, part, now),
            LinkMessage::Release => self.handle_release(link, now),
            LinkMessage::Partner(wants) => self.handle_partner(link, wants, now),
            LinkMessage::NoList(content) => self.handle_no_list(link, &content, now),
            LinkMessage::Unchoke => {
                state.asking.unchoked();
                self.stir();
            }
        }
    }

    #[inline(never)]
    fn handle_have(&mut self, link: LinkId, have: &Have, now: Timestamp) {
        if !self.streams.contains_key(&have.stream) {
            return;
        }
        // Who may not give is not asked, nor is one with whom nothing is traded.
        let gives = |state: &&mut Link| state.may_upload && state.trades();
        let Some(state) = self.links.get_mut(&link).filter(gives) else { return };
        for entry in have.entries.iter() {
            state.claims.add(entry, now);
        }
        for entry in have.entries.iter() {
            let is_word = matches!(entry.held, Held::OnDuty(_));
            for (_, fetch) in self.fetches.iter_mut() {
                // Most of it is known by then: each neighbour says it.
                fetch.stirred |=
                    fetch.content() == Some(entry.content) && !(is_word && fetch.on_duty == u8::MAX);
            }
        }
    }

    #[inline(never)]
    pub(super) fn send_list(&mut self, link: LinkId, content: &ContentId, now: Timestamp) {
        let may_upload = self.may_upload();
        let absent = self.store.get(content).is_none() && may_upload;
        if absent && self.read_for(Reader::List(link, *content), content, now) {
            return;
        }
        let Some(state) = self.links.get_mut(&link) else { return };
        // Who gives nothing is not to be made to give lists either.
        let stored = self.store.get(content).filter(|_| may_upload);
        let Some(stored) =
            stored.filter(|stored| state.lists.take_many(stored.list.len().list_values(), now))
        else {
            self.say(link, &LinkMessage::NoList(*content));
            return;
        };
        let (list, len) = (stored.list.clone(), stored.list.len());
        let mut first = 0;
        for values in list.values().chunks(MAX_LIST_PART) {
            let part = ListPart {
                content: *content,
                len,
                first: GroupIndex::new(first),
                values: BoundedVec::first_of(values.iter().copied()),
            };
            first += values.len() as u32;
            self.say(link, &LinkMessage::ListPart(part));
        }
    }

    /// Takes a part of a list that is being waited for. Parts come in order on the control channel.
    #[inline(never)]
    fn handle_list_part(&mut self, link: LinkId, part: ListPart, now: Timestamp) {
        let (content, len) = (part.content, part.len);
        let Some(values) = self.gather_list(link, part) else { return };
        match GroupList::verified(content, len, values) {
            Ok(list) => self.handle_list(list, now),
            // The list does not hash up to the root the peer was asked for.
            Err(_) => {
                self.handle_no_list(link, &content, now);
                self.violation(link, Violation::BadGroup, now);
            }
        }
    }

    #[inline(never)]
    pub(super) fn handle_bulk(&mut self, link: LinkId, message: &[u8], now: Timestamp) {
        if !self.is_ready(link) {
            self.violation(link, Violation::BadHello, now);
            return;
        }
        if message.len() > MAX_DATA_LEN {
            self.violation(link, Violation::Malformed, now);
            return;
        }
        match Data::decode(message) {
            Ok(Some(data)) => self.handle_data(link, data, message.len(), now),
            Ok(None) => {
                self.pay(link, 1, now);
            }
            Err(_) => self.violation(link, Violation::Malformed, now),
        }
    }

    fn is_ready(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(Link::is_ready)
    }

    /// Whether a link may be asked for more.
    fn is_free(&self, link: LinkId, now: Timestamp) -> bool {
        let asking = self.links.get(&link).map(|state| &state.asking);
        asking.is_some_and(|asking| asking.room(now) > 0 && !asking.snub.is_silent(now))
    }

    /// Takes the groups of a message one by one: what is wrong with one is its sender's fault, and the ones before it stay.
    fn handle_data(&mut self, link: LinkId, data: Data<'_>, message_len: usize, now: Timestamp) {
        let Some(peer) = self.links.get(&link).map(|state| state.peer) else { return };
        let was_free = self.is_free(link, now);
        let had_room = self.intake_room(now) > 0;
        let mut source = message_len - data.bytes.len();
        let (mut taken, mut violation) = (None, None);
        for (group, bytes) in data.groups() {
            let end = source + bytes.len();
            match self.take_group(link, data.request, group, bytes, source..end, now) {
                Ok(Some(fetch)) => {
                    taken = Some((fetch, taken.map_or(0, |(_, len)| len) + bytes.len() as u32))
                }
                Ok(None) => {}
                Err(wrong) => {
                    violation = Some(wrong);
                    break;
                }
            }
            source = end;
        }
        // Who has room again may be asked for any segment; before a slow origin they wait for each other.
        let has_room = !had_room && self.intake_room(now) > 0;
        if !was_free && self.is_free(link, now) || has_room || self.pace.is_slow() {
            self.stir();
        }
        if let Some((fetch, bytes)) = taken {
            self.event(Event::GroupsVerified { fetch, peer: Some(peer), bytes });
        }
        if let Some(violation) = violation {
            self.violation(link, violation, now);
        }
    }

    /// Checks and keeps one group, which is at `source` in what was lent; the fetch that waits for it.
    fn take_group(
        &mut self,
        link: LinkId,
        request: RequestId,
        group: GroupIndex,
        bytes: &[u8],
        source: Range<usize>,
        now: Timestamp,
    ) -> Result<Option<FetchId>, Violation> {
        let Some(state) = self.links.get_mut(&link) else { return Ok(None) };
        let peer = state.peer;
        let len = bytes.len() as u64;
        state.merit.note_given(len, now);
        let content = match state.asking.answered(request, group, len, now) {
            Answer::Wanted(content) => content,
            Answer::Cancelled => {
                self.stats.duplicate_groups += 1;
                return Ok(None);
            }
            Answer::Unsolicited => return Err(Violation::Unsolicited),
        };
        let Some(segment) = self.segment_of(&content) else {
            self.stats.duplicate_groups += 1;
            return Ok(None);
        };
        let Some(stored) = self.store.get_mut(&content) else { return Ok(None) };
        if stored.held.contains(group) {
            self.stats.duplicate_groups += 1;
            return Ok(None);
        }
        if !stored.list.check(group, bytes) {
            self.stats.bad_groups += 1;
            return Err(Violation::BadGroup);
        }
        stored.held.insert(group);
        let (blob, stream) = (stored.blob, stored.stream);
        let offset = stored.list.len().group_bytes(group).map_or(0, |range| range.start());
        self.keep(blob, offset, source);
        self.stats.verified_groups += 1;
        self.stats.peer_bytes += len;
        let of_it = self.fetches.iter_mut().filter(|(_, fetch)| fetch.content() == Some(content));
        of_it.for_each(|(_, fetch)| fetch.stirred = true);
        let deadline = self.fetches.get(&segment).map_or(now, |fetch| fetch.deadline);
        self.announce_group(stream, content, group, deadline, now);
        let mut waiter = None;
        if let Some(fetch) = self.fetches.get_mut(&segment) {
            fetch.progress = now;
            fetch.credit_peer(peer, len);
            waiter = fetch.first_waiter();
        }
        self.settle_hedge(segment, group, link);
        Ok(waiter)
    }
}

/// What a message costs of the peer's allowance: about the work it makes.
fn cost(message: &LinkMessage) -> u32 {
    let of_entries = |entries: usize| 1 + entries as u32 / 4;
    match message {
        LinkMessage::Hello(_) => 64,
        LinkMessage::GetList(_) | LinkMessage::Release | LinkMessage::Partner(_) => 16,
        LinkMessage::Have(have) => of_entries(have.entries.len()),
        LinkMessage::Lost(contents) => of_entries(contents.len()),
        LinkMessage::Request(request) => of_entries(request.groups.len()),
        _ => 1,
    }
}
