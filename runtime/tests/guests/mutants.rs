//! With a guard switched off, the attack it holds back succeeds: so the tests of the
//! guards can fail.

use std::time::Duration;

use agentvm_policy::EndReason;
use agentvm_runtime::vfs::{Filesystem, guards};
use agentvm_runtime::{Engine, EngineSettings, Guard, compile, switch_off};

use crate::files::script::Attack;
use crate::files::{access, cost, descriptors, links, mounts, names, paths, quota};
use crate::harness::{Guest, Ran, load_on, say};
use crate::{bulk, components, cpu, handles, memory, modules, requests};

/// Runs `guest` with and without `guard`, on this very thread.
fn with_and_without(guard: Guard, guest: impl Fn() -> Guest) -> (Ran, Ran) {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let with = runtime().block_on(guest().run());
    let without = switch_off(guard, || runtime().block_on(guest().run()));
    (with, without)
}

#[test]
fn d01_without_the_list_a_memory_of_64_bits_is_accepted() {
    let wasm =
        wat::parse_str("(module (memory (export \"memory\") i64 1) (func (export \"_start\")))")
            .unwrap();
    let accepts = || {
        let engine = Engine::new(&EngineSettings { slots: 0 }).unwrap();
        compile(&engine, &wasm).is_ok()
    };
    assert!(!accepts());
    assert!(switch_off(Guard::ClosedProposals, accepts));
}

#[test]
fn c01_c05_without_the_limit_fuel_ends_nothing() {
    for text in [
        "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop $l (br $l))))",
        "(module (memory (export \"memory\") 1) (func (export \"_start\"))
            (func $spin (loop $l (br $l))) (start $spin))",
    ] {
        let (with, without) = with_and_without(Guard::FuelLimit, || {
            let guest = Guest::wat(text).fuel(1_000_000);
            guest.limits(|l| l.timeout_ms = Some(300))
        });
        assert_eq!(with.ending.reason, EndReason::OutOfFuel);
        assert_eq!(without.ending.reason, EndReason::DeadlineExceeded);
        assert!(without.usage.fuel > 10_000_000);
    }
}

#[test]
fn c02_without_the_charge_a_guest_that_only_yields_is_half_for_free() {
    let counted = || {
        let (ran, thread) = cpu::on_this_thread(cpu::yields(50_000));
        ran.usage.cpu.as_secs_f64() / thread.as_secs_f64()
    };
    let with = counted();
    let without = switch_off(Guard::TurnCharge, counted);
    assert!(with > 0.8 && without < 0.7, "{with} {without}");
}

#[test]
fn c04_without_the_cost_a_little_fuel_fills_much_memory() {
    let wasm = wat::parse_str(
        "(module (memory (export \"memory\") 16) (func (export \"_start\") (local $i i32)
           (loop $l
             (memory.fill (i32.const 0) (i32.const 1) (i32.const 1048576))
             (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
               (i32.const 100))))))",
    )
    .unwrap();
    let ends = || {
        let engine = Engine::new(&EngineSettings { slots: 1 }).unwrap();
        let program = load_on(&engine, &compile(&engine, &wasm).unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let ran = runtime.block_on(Guest::of(program).fuel(1_000_000).run());
        ran.ending.reason
    };
    assert_eq!(ends(), EndReason::OutOfFuel);
    assert_eq!(switch_off(Guard::BulkCost, ends), EndReason::Completed);
}

#[test]
fn c04_without_pieces_one_step_works_on_all_of_a_memory() {
    let steps = || {
        let each = bulk::STEPS.map(|step| bulk::longest_step(bulk::once(step)));
        each.into_iter().chain([bulk::longest_step(bulk::nested())])
    };
    let with: Vec<u64> = steps().collect();
    let without: Vec<u64> = switch_off(Guard::BulkPieces, || steps().collect());
    assert!(with.iter().all(|most| *most < bulk::MUCH), "{with:?}");
    assert!(without.iter().all(|most| *most > bulk::MUCH), "{without:?}");
}

#[test]
fn c04_without_short_intervals_one_step_stores_into_much_memory() {
    let step = || bulk::longest_step(bulk::stores_into_pages());
    let (with, without) = (step(), switch_off(Guard::ShortIntervals, step));
    assert!(
        with < bulk::INTERVALS && without > 900_000,
        "{with} {without}"
    );
}

#[test]
fn c02_without_the_charge_little_fuel_buys_much_host_work() {
    let body = "(local $i i32) (loop $again
        (drop (call $random_get (i32.const 0) (i32.const 1048576)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 50))))";
    let (with, without) = with_and_without(Guard::HostCallCharge, || {
        Guest::with("(memory (export \"memory\") 16)", body).fuel(10_000)
    });
    assert_eq!(with.ending.reason, EndReason::OutOfFuel);
    assert_eq!(without.ending.reason, EndReason::Completed);
}

#[test]
fn d01_without_the_charge_memory_grows_above_the_limit() {
    let body = "(call $proc_exit (memory.grow (i32.const 1000)))";
    let (with, without) = with_and_without(Guard::MemoryCharge, || Guest::body(body));
    assert_eq!(
        (with.ending.exit_code, without.ending.exit_code),
        (Some(-1), Some(1))
    );
}

#[test]
fn d02_without_the_charge_tables_grow_above_the_limit() {
    let body = "(call $proc_exit (table.grow $t (ref.null func) (i32.const 60000)))";
    let (with, without) = with_and_without(Guard::TableCharge, || {
        Guest::with("(table $t 2 funcref)", body).limits(|l| l.memory_bytes = 128 << 10)
    });
    assert_eq!(
        (with.ending.exit_code, without.ending.exit_code),
        (Some(-1), Some(2))
    );
}

#[test]
fn d03_without_the_bound_a_component_has_more_instances_and_memories() {
    let instances = "(core instance (instantiate $e))".repeat(64);
    for fields in [
        instances.as_str(),
        "(core instance (instantiate $m))".repeat(2).as_str(),
    ] {
        let wasm = wat::parse_str(modules::of_instances(fields)).unwrap();
        let loads = || {
            let engine = Engine::new(&EngineSettings { slots: 1 }).unwrap();
            load_on(&engine, &compile(&engine, &wasm).unwrap()).is_ok()
        };
        assert!(!loads());
        assert!(switch_off(Guard::InstanceBound, loads));
    }
}

#[test]
fn c07_without_the_bound_a_component_polls_any_number_of_handles() {
    let (with, without) = with_and_without(Guard::PollBound, || {
        components::polls(1_025).limits(|l| l.memory_bytes = 64 << 20)
    });
    assert_eq!(
        (with.ending.exit_code, without.ending.exit_code),
        (None, Some(0))
    );
}

#[test]
fn d06_without_the_bound_the_host_makes_all_random_bytes_that_are_asked_for() {
    let (with, without) = with_and_without(Guard::RandomBound, || {
        components::asks_for_random_bytes(8 << 20)
    });
    let message = &with.ending.message;
    assert!(message.contains("the limit is 65536"), "{message}");
    assert!(with.usage.fuel < 1 << 20, "{}", with.usage.fuel);
    // It has no room for them, but they were made.
    assert!(without.usage.fuel > 8 << 20, "{}", without.usage.fuel);
}

#[test]
fn c07_without_the_bound_a_component_has_any_number_of_timers() {
    let (with, without) = with_and_without(Guard::HandleBound, || components::timers(2_000));
    assert_eq!(
        (with.ending.exit_code, without.ending.exit_code),
        (None, Some(0))
    );
}

#[test]
fn f01_without_the_guard_a_vm_without_a_network_makes_requests() {
    let (with, without) = with_and_without(Guard::NoNetwork, || {
        requests::opens_without_a_network(requests::nowhere())
    });
    assert_eq!(
        (with.ending.exit_code, without.ending.exit_code),
        (Some(2), Some(0))
    );
}

#[test]
fn f27_without_the_bound_any_number_of_requests_is_in_flight() {
    let core = with_and_without(Guard::ExchangeBound, || {
        requests::opens(9).network(requests::nowhere())
    });
    let component = with_and_without(Guard::ExchangeBound, || {
        requests::asks(5).network(requests::nowhere())
    });
    let codes =
        [core, component].map(|(with, without)| (with.ending.exit_code, without.ending.exit_code));
    assert_eq!(codes, [(Some(41), Some(0)), (Some(11), Some(100))]);
}

#[test]
fn d04_without_the_charge_requests_are_free() {
    let exchanges = with_and_without(Guard::HostMemoryCharge, || {
        requests::opens_with_little_memory(requests::nowhere())
    });
    assert_eq!(
        (exchanges.0.ending.exit_code, exchanges.1.ending.exit_code),
        (Some(41), Some(0))
    );
    let headers = with_and_without(Guard::HostMemoryCharge, requests::hoards_headers);
    assert_eq!(
        (headers.0.ending.exit_code, headers.1.ending.exit_code),
        (None, Some(0))
    );
}

#[test]
fn d04_without_the_charge_streams_and_timers_are_free() {
    for (_, make, _) in handles::MAKERS {
        let (with, without) = with_and_without(Guard::HandleCharge, || {
            handles::hoards(make, 400, false).limits(|limits| limits.memory_bytes = 64 << 10)
        });
        assert_eq!(with.ending.reason, EndReason::MemoryLimit);
        assert_eq!(without.ending.reason, EndReason::Completed);
    }
}

#[test]
fn d03_without_the_charge_instances_are_free() {
    let (with, without) = with_and_without(Guard::InstanceCharge, || {
        handles::has_passive_elements(50, 4_000)
    });
    assert_eq!(with.ending.reason, EndReason::MemoryLimit);
    assert_eq!(without.ending.reason, EndReason::Completed);
}

#[test]
fn c08_without_the_stop_a_guest_goes_on() {
    let stopped = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let guest = Guest::body("(loop $again (br $again))").fuel(50_000_000);
            let running = guest.start();
            running.handle.started().await;
            running.handle.stop(EndReason::Evicted, Duration::ZERO);
            running.end().await.ending.reason
        })
    };
    assert_eq!(stopped(), EndReason::Evicted);
    assert_eq!(switch_off(Guard::StopEnds, stopped), EndReason::OutOfFuel);
}

#[test]
fn d04_without_the_charge_what_the_host_holds_is_free() {
    let files = with_and_without(Guard::HostMemoryCharge, || {
        memory::opens_files_with_memory(2 * 65_536)
    });
    let files = [files.0, files.1].map(|ran| ran.ending.exit_code.map(|code| code & 0xff));
    assert_eq!(files, [Some(48), Some(33)]); // without, its limit of open files ends it
    let polls = with_and_without(Guard::HostMemoryCharge, || memory::polls(1_000));
    assert_eq!(
        (polls.0.ending.exit_code, polls.1.ending.exit_code),
        (Some(48), Some(0))
    );
    let environment = with_and_without(Guard::HostMemoryCharge, || {
        memory::with_environment(200_000, 100_000)
    });
    assert_eq!(environment.0.ending.reason, EndReason::MemoryLimit);
    assert_eq!(environment.1.ending.reason, EndReason::Completed);
}

#[test]
fn d04_without_the_bound_a_component_makes_handles_of_its_own() {
    let (with, without) = with_and_without(Guard::HandleBound, || memory::makes_handles(50_000));
    assert_eq!(
        (with.ending.exit_code, without.ending.exit_code),
        (None, Some(0))
    );
}

#[test]
fn c07_without_the_bound_a_poll_takes_any_number_of_subscriptions() {
    let body = "(call $proc_exit (call $poll_oneoff
        (i32.const 0) (i32.const 500000) (i32.const 10000) (i32.const 1000000)))";
    let (with, without) = with_and_without(Guard::PollBound, || {
        Guest::with("(memory (export \"memory\") 16)", body).limits(|l| l.memory_bytes = 64 << 20)
    });
    assert_eq!(
        (with.ending.exit_code, without.ending.exit_code),
        (Some(28), Some(0))
    );
}

#[test]
fn c12_without_the_quota_nobody_is_delayed() {
    let (with, without) = with_and_without(Guard::CpuQuota, || {
        Guest::body("(loop $again (br $again))").limits(|l| {
            l.cpu_millicores = 10;
            l.timeout_ms = Some(2_000);
        })
    });
    assert!(with.usage.throttled > Duration::ZERO);
    assert_eq!(without.usage.throttled, Duration::ZERO);
}

#[test]
fn without_the_wake_a_guest_that_waits_for_input_never_learns_of_the_stop() {
    let body = format!(
        "{} (i32.store (i32.const 4) (i32.const 8))
         (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))",
        say("waiting")
    );
    let stopped = || async {
        let running = Guest::body(&body).start();
        running.says("waiting").await;
        running
            .handle
            .stop(EndReason::Stopped, Duration::from_millis(300));
        running.end().await.ending.exit_code
    };
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    assert_eq!(runtime().block_on(stopped()), Some(0));
    assert_eq!(
        switch_off(Guard::StdinWake, || runtime().block_on(stopped())),
        None
    );
}

#[test]
fn d12_without_the_bound_any_number_of_files_is_open() {
    let (with, without) = with_and_without(Guard::OpenFiles, || {
        let guest = descriptors::opens_files_until_refused().guest(&work());
        guest.limits(|l| l.memory_bytes = 64 << 20)
    });
    let opened = |ran: &Ran| ran.ending.exit_code.map(|code| (code >> 8, code & 0xff));
    assert_eq!(opened(&with), Some((65, 33)));
    assert_eq!(opened(&without), Some((5_000, 0)));
}

#[test]
fn c03_b03_without_the_charge_little_fuel_lists_a_large_directory_many_times() {
    let (with, without) = with_and_without(Guard::FileCharge, || {
        cost::lists_all_the_time(5_000).fuel(3_000_000)
    });
    assert_eq!(with.ending.reason, EndReason::OutOfFuel);
    assert_eq!(without.ending.reason, EndReason::Completed);
}

#[test]
fn c02_d06_without_the_pauses_a_large_write_is_not_paid_for_before_it_is_done() {
    let files = [work(), work()];
    let each = std::cell::Cell::new(0);
    with_and_without(Guard::FileChunks, || {
        let filesystem = files.get(each.replace(each.get() + 1)).unwrap();
        cost::writes_much_at_once(filesystem).fuel(1_000_000)
    });
    let [with, without] = files.map(|filesystem| filesystem.usage().peak_bytes);
    assert!(with < 1 << 20, "{with}");
    assert!(without > 8 << 20, "{without}");
}

fn work() -> Filesystem {
    crate::files::script::work()
}

/// The script is answered as it has to be, and not without `guard`.
fn holds_and_fails_without(guard: guards::Guard, attack: fn() -> Attack) {
    let exit_code = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (script, filesystem) = attack();
        runtime
            .block_on(script.guest(&filesystem).run())
            .ending
            .exit_code
    };
    assert_eq!(exit_code(), Some(0), "{guard:?}");
    assert_ne!(guards::switch_off(guard, exit_code), Some(0), "{guard:?}");
}

#[test]
fn without_its_guard_each_attack_on_names_and_mounts_comes_through_preview1() {
    use guards::Guard::{
        AbsoluteLink, AbsolutePath, CrossMount, EscapeAbove, FileSizeCap, MountPoint, NulInName,
        ReadOnlyMount,
    };
    let attacks: [(guards::Guard, fn() -> Attack); 13] = [
        (EscapeAbove, paths::walks_everywhere),             // a01
        (EscapeAbove, paths::leads_out_by_dots),            // a01
        (AbsolutePath, paths::leads_out_by_dots),           // a01
        (AbsoluteLink, links::follows_absolute_links),      // a02
        (EscapeAbove, links::follows_links_out),            // a02
        (EscapeAbove, paths::leads_out_by_slashes),         // a03
        (EscapeAbove, paths::leads_out_by_a_renamed_link),  // a04
        (ReadOnlyMount, access::changes_what_is_read_only), // a08
        (CrossMount, mounts::moves_mounts),                 // a09
        (MountPoint, mounts::moves_mounts),                 // a09
        (AbsolutePath, paths::walks_everywhere),            // a10
        (NulInName, names::names_illegally),                // a13
        (FileSizeCap, quota::makes_huge_files),             // b01
    ];
    for (guard, attack) in attacks {
        holds_and_fails_without(guard, attack);
    }
}

#[test]
fn b01_b02_without_the_quotas_bytes_and_inodes_go_on() {
    holds_and_fails_without(guards::Guard::ByteQuota, quota::fills_all_bytes);
    holds_and_fails_without(guards::Guard::MountQuota, quota::fills_a_mount);
    holds_and_fails_without(guards::Guard::InodeQuota, quota::fills_all_inodes);
}
