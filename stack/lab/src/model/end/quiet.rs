//! The node has nothing more to do now: what it owes must have been given.

use millrace_wire::time::Instant;

use super::End;

impl End {
    /// See the module. Says whether something is still owed at a later time.
    pub(in crate::model) fn quiet(&mut self, now: Instant, short: bool) -> Result<bool, String> {
        self.answerable.clear();
        let live = self.is_live() && !short;
        let calls = self.calls;
        let Some(said) = &mut self.said else {
            return Ok(false);
        };
        said.repeats = 0;
        said.echo.must |= said.echo.must_soon;
        said.echo.may = said.echo.may_soon;
        if said.challenges.provoked && said.challenges.answered {
            said.challenges.spent = Some(now);
        }
        said.challenges.provoked = false;
        said.challenges.answered = false;
        // TIME_WAIT keeps what it has, whatever comes (Linux).
        if let Some(recent) = said.recent.take()
            && said.got.fin.is_none()
        {
            let old = |value: &u32| value.wrapping_sub(recent).cast_signed() < 0;
            said.recents.retain(|value| !old(value));
        }
        if !live || said.reset || said.doubt {
            said.owed = Default::default();
            return Ok(false);
        }
        if let Some(what) = said.owed.now.take() {
            return Err(format!("no answer to {what}"));
        }
        let (least, acked) = (said.least(), said.acked);
        if acked < least && said.owed.due.is_some_and(|due| due <= now) {
            return Err(format!(
                "no ACK of {} octets that came long ago",
                least - acked
            ));
        }
        let in_order = least - 1 - said.got.fin.map_or(0, |fin| i64::from(fin < least));
        let all_read = calls.is_some_and(|calls| calls.read as i64 >= in_order);
        let full = i64::from(said.own.options.mss.unwrap_or(536));
        if all_read && acked < least && least - acked >= 2 * full {
            return Err(format!("no ACK of {} octets, two segments", least - acked));
        }
        if all_read && said.got.fin.is_none() && said.acked > 0 && said.edge <= least {
            return Err("a window that stays closed before an eager reader".to_owned());
        }
        Ok(acked < least)
    }

    /// Nobody can tell what became of what it sent: nothing is owed.
    pub(in crate::model) fn excuse(&mut self) {
        if let Some(said) = &mut self.said {
            said.owed = Default::default();
            said.doubt = true;
        }
    }
}
