//! The network of one run: a bridge, and for each node a network namespace with a link to it.
//!
//! Links are broken where packets arrive: the rules of a node's input chain say whom it does not
//! hear, and of whom it loses packets at random. Slow links are queues where packets leave.

use crate::network::Link;
use crate::proxy;
use crate::shell::{feed, run};

const NET: &str = "10.231.77";
/// Clients.
pub const HTTP: u16 = 7000;
/// Nodes among each other.
pub const PEER: u16 = 7100;
/// Gossip.
pub const GOSSIP: u16 = 7200;

/// A node's address.
pub fn host(node: usize) -> String {
    format!("{NET}.{}", node + 1)
}

/// A node's namespace.
pub fn namespace(node: usize) -> String {
    format!("n{node}")
}

/// What is in force.
pub struct Net {
    /// Of each node's input.
    rules: Vec<String>,
    /// By (from, to).
    speeds: Vec<Vec<Option<u64>>>,
}

impl Net {
    /// Makes bridge and namespaces; `proxied` sends what nodes say to each other through proxies.
    ///
    /// # Errors
    /// A command failed; it needs namespaces of its own with a `/run` of its own.
    pub fn make(nodes: usize, proxied: bool) -> anyhow::Result<Net> {
        let mut lines = format!(
            "ip link set lo up\nip link add br0 type bridge\nip addr add {NET}.254/24 dev br0\n\
             ip link set br0 up\n"
        );
        for node in 0..nodes {
            let (name, host) = (namespace(node), host(node));
            lines += &format!(
                "ip netns add {name}\nip -n {name} link set lo up\n\
                 ip link add v{node} type veth peer name eth0 netns {name}\n\
                 ip link set v{node} master br0 up\n\
                 ip -n {name} addr add {host}/24 dev eth0\nip -n {name} link set eth0 up\n\
                 ip netns exec {name} iptables -N CHAOS\n\
                 ip netns exec {name} iptables -A INPUT -j CHAOS\n"
            );
            if proxied {
                lines += &redirections(node, nodes);
            }
        }
        feed("sh", &["-e"], &lines)?;
        let speeds = vec![vec![None; nodes]; nodes];
        Ok(Net { rules: vec![String::new(); nodes], speeds })
    }

    /// Puts links by (from, to) in force: cuts, losses and speeds.
    ///
    /// # Errors
    /// A command failed.
    pub fn apply(&mut self, links: &[Vec<Link>]) -> anyhow::Result<()> {
        for (to, in_force) in self.rules.iter_mut().enumerate() {
            let others = (0..links.len()).filter(|from| *from != to);
            let rules: String = others.map(|from| rule(from, &links[from][to])).collect();
            if *in_force != rules {
                let input = format!("*filter\n:CHAOS - [0:0]\n{rules}COMMIT\n");
                let restore = ["netns", "exec", &namespace(to), "iptables-restore", "--noflush"];
                feed("ip", &restore, &input)?;
                *in_force = rules;
            }
        }
        for (from, row) in links.iter().enumerate() {
            let speeds: Vec<Option<u64>> = row.iter().map(|link| link.bytes_per_s).collect();
            if self.speeds[from] != speeds {
                shape(from, &speeds)?;
                self.speeds[from] = speeds;
            }
        }
        Ok(())
    }
}

/// Connections and datagrams of a node to others go to its own proxy; what the others' proxies
/// send here arrives at the node.
fn redirections(node: usize, nodes: usize) -> String {
    let nat = format!("ip netns exec {} iptables -t nat", namespace(node));
    let mut lines = String::new();
    for (protocol, port, entry) in
        [("tcp", PEER, proxy::PEER_ENTRY), ("udp", GOSSIP, proxy::GOSSIP_ENTRY)]
    {
        lines += &format!(
            "{nat} -A PREROUTING -p {protocol} --dport {entry} -j REDIRECT --to-ports {port}\n"
        );
        for to in (0..nodes).filter(|to| *to != node) {
            let (from, to_host) = (host(node), host(to));
            let at = proxy::listens(entry, to);
            lines += &format!(
                "{nat} -A OUTPUT -p {protocol} -d {to_host} --dport {port} \
                 -j DNAT --to-destination {from}:{at}\n"
            );
        }
    }
    lines
}

fn rule(from: usize, link: &Link) -> String {
    let source = format!("-A CHAOS -s {}", host(from));
    match (link.cut, link.loss_permille) {
        (true, _) => format!("{source} -j DROP\n"),
        (false, 0) => String::new(),
        (false, permille) => {
            let share = f64::from(permille.min(1_000)) / 1_000.0;
            format!("{source} -m statistic --mode random --probability {share} -j DROP\n")
        }
    }
}

/// Queues for what a node sends, each with its speed. As in the simulator 2 s of it wait at most.
fn shape(from: usize, speeds: &[Option<u64>]) -> anyhow::Result<()> {
    let tc = format!("ip netns exec {} tc", namespace(from));
    let mut lines = format!("{tc} qdisc del dev eth0 root 2>/dev/null || true\n");
    let slow = speeds.iter().enumerate().filter_map(|(to, speed)| Some((to, (*speed)?)));
    let mut begun = false;
    for (to, speed) in slow {
        if !std::mem::replace(&mut begun, true) {
            lines += &format!("{tc} qdisc add dev eth0 root handle 1: htb\n");
        }
        let (class, host) = (to + 10, host(to));
        lines += &format!(
            "{tc} class add dev eth0 parent 1: classid 1:{class} htb rate 10gbit quantum 60000\n\
             {tc} filter add dev eth0 parent 1: protocol ip u32 match ip dst {host}/32 \
             flowid 1:{class}\n\
             {tc} qdisc add dev eth0 parent 1:{class} tbf rate {speed}bps burst 10k latency 2s\n"
        );
    }
    run("sh", &["-e", "-c", &lines]).map(drop)
}
