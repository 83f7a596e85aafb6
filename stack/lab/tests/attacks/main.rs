//! Attacks: for every family a test that the stack survives, and that the defence is what counted it. Work is measured
//! in counts (packets out, memory, table entries), not in time.
//!
//! | row | attack | tests |
//! |---|---|---|
//! | 1 | SYN flood | `handshake::a_syn_flood_costs_no_memory` |
//! | 2 | forged cookies | `handshake::forged_cookies_make_nothing`, `millrace-net`: `tcp::syncookies::tests::a_million_forgeries` |
//! | 3 | blind RST | `blind::blind_reset_never_hits` |
//! | 4 | blind SYN | `blind::blind_syn_is_challenged` |
//! | 5 | blind data and ACK injection | `blind::blind_data_needs_a_plausible_ack` |
//! | 6 | challenge-ACK side channel | `blind::challenges_of_one_connection_tell_nothing_of_another` |
//! | 7 | ACK loops | `blind::desynchronised_ends_fall_silent` |
//! | 8 | ISN prediction | `numbers::initial_sequence_numbers_cannot_be_predicted` |
//! | 9 | port prediction | `numbers::ports_towards_others_cannot_be_predicted`, `numbers::ports_towards_one_destination_are_not_reused_soon` |
//! | 10 | timestamps that tell | `numbers::timestamp_offsets_are_independent` |
//! | 11 | PAWS poison | `numbers::future_timestamps_do_not_poison_paws` |
//! | 12, 13 | SACK panic and slowness | `sack::random_sacks_over_tiny_segments` |
//! | 14 | tiny segment sizes | `sack::tiny_segment_sizes_are_not_obeyed` |
//! | 15 | SegmentSmack | `memory::gaps_between_octets_are_bounded` |
//! | 17 | out-of-order memory of many connections | `memory::out_of_order_data_of_many_connections_is_bounded` |
//! | 18 | optimistic ACK | `sack::acknowledging_the_unsent_gains_nothing` |
//! | 19 | ACK division, spoofed duplicates | `sack::divided_acks_open_the_window_no_further`, `sack::duplicate_acks_without_sack_news_cause_nothing` |
//! | 20 | zero windows, slow readers | `memory::closed_windows_cost_little`, `memory::orphans_are_limited` |
//! | 21, 22 | LAND, martians | `packets::syns_from_nobody_and_to_everybody` |
//! | 23 | Fast Open amplification and replay | `handshake::stolen_fast_open_cookies_are_limited` |
//! | 24 | ICMP blind errors | `packets::forged_unreachables_do_not_end_connections` |
//! | 25 | path MTU lies | `packets::path_mtu_lies_are_bounded` |
//! | 27 | ARP spoofing and overflow | `packets::arp_flood_stays_within_the_table`, `packets::unasked_arp_replies_make_no_entry` |
//! | 30 | hash flooding | `millrace-net`: `tcp::demux::ehash::tests::probes_stay_short_for_chosen_tuples` |
//! | 32 | bad checksums | `packets::every_flipped_bit_is_found` |
//! | 33 | malformed options | `packets::every_option_prefix_is_read`, `packets::a_syn_with_any_options_is_answered` |
//! | 34 | TCP MD5 signatures | `signed::*`, `millrace-net`: `tcp::md5::tests::signs_as_linux_does` |
//! | 36 | full tables | `memory::every_table_has_a_bound` |
//! | 37 | TIME_WAIT assassination | `handshake::time_wait_gives_way_to_newer_syns_only` |
//! | 38 | split handshake | `handshake::a_split_handshake_is_a_simultaneous_open` |
//! | 39 | states that never end | `memory::every_state_drains_with_a_mute_peer` |
//! | 40 | connection flood | `handshake::a_full_accept_queue_holds_third_acks_back` |
//! | 41 | shrinking windows | `packets::a_window_that_shrinks_is_survived` |
//! | 42 | urgent pointers | `packets::urgent_pointers_stay_within_bounds` |
//! | 43 | overlapping segments | `packets::overlaps_follow_one_rule` |
//! | 44 | IP identification | `packets::ip_identification_is_silent` |
//! | 47 | memory pressure | `memory::a_full_pool_heals`, `memory::three_marks_of_memory`, `memory::windows_do_not_grow_under_pressure` |

mod blind;
mod handshake;
mod memory;
mod net;
mod numbers;
mod packets;
mod sack;
mod signed;
