//! From arguments to a worker on a device: all of it, or nothing and one sentence that says why.

use std::net::Ipv4Addr;

use millrace::control::import::{AdminState, Link};
use millrace::driver::{self, Device, DriverOptions, DriverSpec, Started, Steer, Takeover};
use millrace::net::link::{LinkConfig, LinkKind};
use millrace::net::{Config, IfaceConfig, IfaceId, RouteSpec};
use millrace::pmd::Queue;
use millrace::signal::Signals;
use millrace::worker::{Core, host_seed};
use millrace::{Adaptive, BusyPoll, Controller, Ipv4Net, Stack, TscClock, Worker};

use crate::Failure;
use crate::cli::{StackArgs, SteerArg};
use crate::control::{self, About, Clerk, Reserved};

/// Everything but the device's queues: listeners and all else can still be refused without a trace.
pub struct Prepared {
    /// The worker.
    pub worker: Worker,
    /// Our addresses.
    pub addrs: Vec<Ipv4Net>,
    clock: TscClock,
    controller: Controller,
    iface: IfaceId,
    device: Device,
    device_name: String,
    core: Option<Core>,
    control: Reserved,
}

/// A worker that is ready to run, and what to tell the user about it.
pub struct Node {
    /// The worker.
    pub worker: Worker,
    /// A copy of the worker's clock.
    pub clock: TscClock,
    /// Forwards signals to the worker as long as it lives.
    pub signals: Signals,
    /// The device, as the user named it.
    pub device: String,
    /// How frames travel, for example "copy native, own sockets, 2 queues".
    pub mode: String,
    /// Answers `millrace stat` and `millrace ss` as long as it lives.
    pub control: Option<Clerk>,
}

/// The addresses and routes that we shall have.
struct Identity {
    addrs: Vec<Ipv4Net>,
    routes: Vec<Route>,
}

/// A route before the interface has its number.
struct Route {
    dest: Ipv4Net,
    gateway: Option<Ipv4Addr>,
    prefsrc: Option<Ipv4Addr>,
    metric: u32,
    mtu: Option<u16>,
}

/// Opens the device and puts a stack on it.
///
/// # Errors
///
/// [`Failure`]; nothing is left changed.
pub fn prepare(driver: &DriverSpec, args: &StackArgs) -> Result<Prepared, Failure> {
    let config = stack_config(args)?;
    let identity = identity(driver, args)?;
    let core = args
        .core
        .map(Core::find)
        .transpose()
        .map_err(Failure::from_error)?;
    let clock = TscClock::new();
    let device = driver::open(driver, &driver_options(args, &identity), &clock)
        .map_err(Failure::from_error)?;

    let mut stack = Stack::new(config);
    let link = LinkConfig {
        kind: LinkKind::Ethernet,
        mac: args.mac.unwrap_or(device.mac()),
        vlan: args.vlan,
        mtu: mtu(args, &device)?,
    };
    let iface_config = IfaceConfig {
        name: device.name().to_owned(),
        link,
        accept_partial_csum: args.accept_partial_csum,
    };
    let iface = stack.add_iface(iface_config).map_err(Failure::from_error)?;
    for addr in &identity.addrs {
        stack.add_addr(iface, *addr).map_err(Failure::from_error)?;
    }
    for Route {
        dest,
        gateway,
        prefsrc,
        metric,
        mtu,
    } in identity.routes
    {
        let spec = RouteSpec {
            dest,
            gateway,
            iface,
            prefsrc,
            metric,
            mtu,
        };
        stack.add_route(spec).map_err(Failure::from_error)?;
    }
    let worker = if args.busy_poll {
        Worker::new(stack, clock.clone(), BusyPoll)
    } else {
        Worker::new(stack, clock.clone(), Adaptive::default())
    };
    let (worker, controller) = worker
        .map_err(|e| Failure::Failed(format!("cannot make a doorbell: {e}; see `ulimit -n`")))?;
    Ok(Prepared {
        worker,
        addrs: identity.addrs,
        clock,
        controller,
        iface,
        device,
        device_name: driver.to_string(),
        core,
        control: control::reserve(&args.control)?,
    })
}

impl Prepared {
    /// Opens the device's queues, the control socket and catches signals; pins the calling thread. `command` says what is
    /// run.
    ///
    /// # Errors
    ///
    /// [`Failure`]; nothing is left changed.
    pub fn start(self, command: &str) -> Result<Node, Failure> {
        let Self {
            mut worker,
            addrs: _,
            clock,
            controller,
            iface,
            device,
            device_name,
            core,
            control,
        } = self;
        let Started { port, queues } = device.start().map_err(Failure::from_error)?;
        let mode = mode_text(&queues);
        worker.add_queues(iface, port, queues);
        // Before this thread is pinned: the threads that answer and that wait for signals stay off the worker's core.
        let about = About::me(command.to_owned(), &device_name, &mode);
        let taken = core.map(Core::number);
        let control = control.open(&mut worker, about, taken).map_err(|e| {
            Failure::Failed(format!(
                "cannot open the control socket: {e}; see `ulimit -n -u`"
            ))
        })?;
        let signals = Signals::forward(controller)
            .map_err(|e| Failure::Failed(format!("cannot catch signals: {e}")))?;
        if let Some(core) = core {
            core.pin().map_err(Failure::from_error)?;
        }
        Ok(Node {
            worker,
            clock,
            signals,
            device: device_name,
            mode,
            control,
        })
    }
}

/// What the user wants, within what the device can do.
fn mtu(args: &StackArgs, device: &Device) -> Result<u16, Failure> {
    let limit = device.mtu();
    match args.mtu {
        Some(mtu) if mtu > limit => Err(Failure::Failed(format!(
            "MTU {mtu} is larger than the {limit} of {name}; run `ip link set {name} mtu {mtu}`",
            name = device.name()
        ))),
        Some(mtu) => Ok(mtu),
        None => Ok(limit),
    }
}

fn stack_config(args: &StackArgs) -> Result<Config, Failure> {
    let seed = host_seed()
        .map_err(|e| Failure::Failed(format!("the kernel gives no random numbers: {e}")))?;
    let mut config = Config::new(seed);
    for setting in &args.sysctl {
        let refused = |why| {
            Failure::Usage(format!(
                "--sysctl {}={}: {why}",
                setting.name, setting.value
            ))
        };
        config
            .sysctl
            .set(&setting.name, &setting.value)
            .map_err(|error| refused(error.to_string()))?;
    }
    Ok(config)
}

/// Our addresses and routes: as given, or those of the interface.
fn identity(driver: &DriverSpec, args: &StackArgs) -> Result<Identity, Failure> {
    let mut identity = Identity {
        addrs: args.addr.clone(),
        routes: Vec::new(),
    };
    if let DriverSpec::AfXdp(interface) = driver {
        let link = link_that_is_up(interface)?;
        if identity.addrs.is_empty() {
            identity.addrs = link.addrs;
            identity.routes = link.routes.into_iter().map(Route::from).collect();
        }
    }
    if identity.addrs.is_empty() {
        return Err(Failure::Failed(format!(
            "{} gives us no IPv4 address; give one with --addr, for example --addr 10.0.0.2/24",
            driver
        )));
    }
    if let Some(gateway) = args.gateway {
        if !identity.addrs.iter().any(|net| net.contains(&gateway)) {
            return Err(Failure::Failed(format!(
                "the gateway {gateway} is in none of our networks; give an address beside it with --addr"
            )));
        }
        identity.routes.retain(|route| route.dest.prefix_len() != 0);
        identity.routes.push(Route {
            dest: Ipv4Net::default(),
            gateway: Some(gateway),
            prefsrc: None,
            metric: 0,
            mtu: None,
        });
    }
    Ok(identity)
}

/// An interface, which must be up.
///
/// # Errors
///
/// [`Failure`] when it is down or not there.
pub fn link_that_is_up(interface: &str) -> Result<Link, Failure> {
    let link = Link::read(interface).map_err(Failure::from_error)?;
    if link.admin == AdminState::Down {
        return Err(Failure::Failed(format!(
            "interface {interface} is down; run `ip link set {interface} up`"
        )));
    }
    Ok(link)
}

impl From<millrace::control::import::Route> for Route {
    fn from(route: millrace::control::import::Route) -> Self {
        let millrace::control::import::Route {
            dest,
            gateway,
            prefsrc,
            metric,
            mtu,
        } = route;
        Self {
            dest,
            gateway,
            prefsrc,
            metric,
            mtu,
        }
    }
}

fn driver_options(args: &StackArgs, identity: &Identity) -> DriverOptions {
    let (steer, takeover) = match args.steer {
        Some(SteerArg::Addresses) => (
            Steer::Addresses(identity.addrs.iter().map(|net| net.addr()).collect()),
            Takeover::SparingDefaultRoute,
        ),
        // To say it is to mean it, even where the default route is.
        Some(SteerArg::All) => (Steer::All, Takeover::Whatever),
        None => (Steer::All, Takeover::SparingDefaultRoute),
    };
    DriverOptions {
        xdp_mode: args.xdp_mode.into(),
        xdp_sockets: args.xsk.into(),
        steer,
        takeover,
        mac: args.mac,
        impair: args.impair,
    }
}

/// Mode, whose sockets, and number of queues.
fn mode_text(queues: &[Box<dyn Queue>]) -> String {
    let mode = queues.first().map_or_else(
        || "no queues".to_owned(),
        |queue| match queue.made_with() {
            Some(maker) => format!("{}, {maker}", queue.mode()),
            None => queue.mode().to_string(),
        },
    );
    match queues.len() {
        1 => format!("{mode}, 1 queue"),
        n => format!("{mode}, {n} queues"),
    }
}
