//! `struct tcp_info`, `union tcp_cc_info` and the values of `SO_MEMINFO`, by the names that code uses.

use super::eval::Names;

/// Names of `struct tcp_info` with offset and width in octets (include/uapi/linux/tcp.h, Linux 6.18, little endian).
const TCP_INFO: &[(&str, usize, usize)] = &[
    ("tcpi_state", 0, 1),
    ("tcpi_ca_state", 1, 1),
    ("tcpi_retransmits", 2, 1),
    ("tcpi_probes", 3, 1),
    ("tcpi_backoff", 4, 1),
    ("tcpi_options", 5, 1),
    ("tcpi_rto", 8, 4),
    ("tcpi_ato", 12, 4),
    ("tcpi_snd_mss", 16, 4),
    ("tcpi_rcv_mss", 20, 4),
    ("tcpi_unacked", 24, 4),
    ("tcpi_sacked", 28, 4),
    ("tcpi_lost", 32, 4),
    ("tcpi_retrans", 36, 4),
    ("tcpi_fackets", 40, 4),
    ("tcpi_last_data_sent", 44, 4),
    ("tcpi_last_ack_sent", 48, 4),
    ("tcpi_last_data_recv", 52, 4),
    ("tcpi_last_ack_recv", 56, 4),
    ("tcpi_pmtu", 60, 4),
    ("tcpi_rcv_ssthresh", 64, 4),
    ("tcpi_rtt", 68, 4),
    ("tcpi_rttvar", 72, 4),
    ("tcpi_snd_ssthresh", 76, 4),
    ("tcpi_snd_cwnd", 80, 4),
    ("tcpi_advmss", 84, 4),
    ("tcpi_reordering", 88, 4),
    ("tcpi_rcv_rtt", 92, 4),
    ("tcpi_rcv_space", 96, 4),
    ("tcpi_total_retrans", 100, 4),
    ("tcpi_pacing_rate", 104, 8),
    ("tcpi_max_pacing_rate", 112, 8),
    ("tcpi_bytes_acked", 120, 8),
    ("tcpi_bytes_received", 128, 8),
    ("tcpi_segs_out", 136, 4),
    ("tcpi_segs_in", 140, 4),
    ("tcpi_notsent_bytes", 144, 4),
    ("tcpi_min_rtt", 148, 4),
    ("tcpi_data_segs_in", 152, 4),
    ("tcpi_data_segs_out", 156, 4),
    ("tcpi_delivery_rate", 160, 8),
    ("tcpi_busy_time", 168, 8),
    ("tcpi_rwnd_limited", 176, 8),
    ("tcpi_sndbuf_limited", 184, 8),
    ("tcpi_delivered", 192, 4),
    ("tcpi_delivered_ce", 196, 4),
    ("tcpi_bytes_sent", 200, 8),
    ("tcpi_bytes_retrans", 208, 8),
    ("tcpi_dsack_dups", 216, 4),
    ("tcpi_reord_seen", 220, 4),
    ("tcpi_rcv_ooopack", 224, 4),
    ("tcpi_snd_wnd", 228, 4),
    ("tcpi_rcv_wnd", 232, 4),
    ("tcpi_rehash", 236, 4),
    ("tcpi_total_rto", 240, 2),
    ("tcpi_total_rto_recoveries", 242, 2),
    ("tcpi_total_rto_time", 244, 4),
    ("tcpi_received_ce", 248, 4),
    ("tcpi_delivered_e1_bytes", 252, 4),
    ("tcpi_delivered_e0_bytes", 256, 4),
    ("tcpi_delivered_ce_bytes", 260, 4),
    ("tcpi_received_e1_bytes", 264, 4),
    ("tcpi_received_e0_bytes", 268, 4),
    ("tcpi_received_ce_bytes", 272, 4),
    ("tcpi_accecn_fail_mode", 276, 2),
    ("tcpi_accecn_opt_seen", 278, 2),
];

/// Names of `struct tcp_bbr_info`, the only one of 20 octets.
const BBR: &[(&str, usize, usize)] = &[
    ("bbr_bw_lo", 0, 4),
    ("bbr_bw_hi", 4, 4),
    ("bbr_min_rtt", 8, 4),
    ("bbr_pacing_gain", 12, 4),
    ("bbr_cwnd_gain", 16, 4),
];

/// `struct tcpvegas_info` and `struct tcp_dctcp_info`, which are as long as each other.
const VEGAS_OR_DCTCP: &[(&str, usize, usize)] = &[
    ("tcpv_enabled", 0, 4),
    ("tcpv_rttcnt", 4, 4),
    ("tcpv_rtt", 8, 4),
    ("tcpv_minrtt", 12, 4),
    ("dctcp_enabled", 0, 2),
    ("dctcp_ce_state", 2, 2),
    ("dctcp_alpha", 4, 4),
    ("dctcp_ab_ecn", 8, 4),
    ("dctcp_ab_tot", 12, 4),
];

/// Places of `SO_MEMINFO` (include/uapi/linux/sock_diag.h).
const MEMINFO: &[(&str, usize, usize)] = &[
    ("SK_MEMINFO_RMEM_ALLOC", 0, 4),
    ("SK_MEMINFO_RCVBUF", 4, 4),
    ("SK_MEMINFO_WMEM_ALLOC", 8, 4),
    ("SK_MEMINFO_SNDBUF", 12, 4),
    ("SK_MEMINFO_FWD_ALLOC", 16, 4),
    ("SK_MEMINFO_WMEM_QUEUED", 20, 4),
    ("SK_MEMINFO_OPTMEM", 24, 4),
    ("SK_MEMINFO_BACKLOG", 28, 4),
    ("SK_MEMINFO_DROPS", 32, 4),
];

/// The names of a `TCP_INFO` and their values; fields that a shorter structure lacks have none.
pub fn tcp_info_names(bytes: &[u8]) -> Vec<(&'static str, i128)> {
    let mut names = table(TCP_INFO, bytes);
    if let [_, _, _, _, _, _, scales, flags, ..] = bytes {
        names.push(("tcpi_snd_wscale", i128::from(scales & 15)));
        names.push(("tcpi_rcv_wscale", i128::from(scales >> 4)));
        names.push(("tcpi_delivery_rate_app_limited", i128::from(flags & 1)));
        names.push(("tcpi_fastopen_client_fail", i128::from(flags >> 1 & 3)));
    }
    names
}

/// The names of a `TCP_CC_INFO`: its length tells what it is.
pub(in crate::drill) fn cc_info(bytes: &[u8]) -> Names {
    match bytes.len() {
        20 => table(BBR, bytes),
        16 => table(VEGAS_OR_DCTCP, bytes),
        _ => Names::new(),
    }
}

/// The names of an `SO_MEMINFO`.
pub(in crate::drill) fn meminfo(bytes: &[u8]) -> Names {
    table(MEMINFO, bytes)
}

fn table(fields: &[(&'static str, usize, usize)], bytes: &[u8]) -> Names {
    fields
        .iter()
        .filter_map(|(name, at, width)| {
            let field = bytes.get(*at..at + width)?;
            let value = field
                .iter()
                .rev()
                .fold(0, |n, byte| n << 8 | i128::from(*byte));
            Some((*name, value))
        })
        .collect()
}
