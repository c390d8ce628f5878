// Runs over two hosts: network namespaces that a cable joins. Skipped, with the reason, where they cannot be
// made.
#include "tests/cli/hosts.hpp"
#include "tests/cli/tls_files.hpp"

namespace collie::test {
namespace {

const Settings two_replicas = {"parallel.pp_size=1", "parallel.dp_size=2", "parallel.tp_size=2"};
const Settings endless_stages = four_stages + endless;
constexpr int hosts_port = 5001;

bool skipped() {
  const std::string why = Hosts::why_not();
  if (!why.empty()) WARN("skipped: no network namespaces: " << why);
  return !why.empty();
}

// The trainer on host 0, a node on each.
class TwoHosts {
 public:
  TwoHosts() {
    for (const int host : {0, 1}) {
      std::vector<std::string> arguments = {"node", "--listen", Hosts::address(host, hosts_port)};
      const auto flags = tls.node_flags();
      arguments.insert(arguments.end(), flags.begin(), flags.end());
      nodes.push_back(std::make_unique<Command>(arguments, on(host)));
    }
    for (const auto& node : nodes)
      REQUIRE(node->wait_until([&] { return has(node->errors(), "listening at"); }));
  }

  CommandOptions on(int host) const {
    CommandOptions options = bench.options();
    options.network = hosts.name(host);
    options.timeout_s = 300;
    return options;
  }
  std::unique_ptr<Command> start(const std::string& dir, const Settings& settings,
                                 const std::string& addresses) const {
    return std::make_unique<Command>(bench.run_arguments(dir, settings, {"--nodes", addresses}), on(0));
  }
  std::unique_ptr<Command> start(const std::string& dir, const Settings& settings) const {
    return start(dir, settings, Hosts::address(0, hosts_port) + "," + Hosts::address(1, hosts_port));
  }

  Workbench bench;
  TlsFiles tls{bench};
  Hosts hosts;
  std::vector<std::unique_ptr<Command>> nodes;
};

// Connections between the hosts that are not with a node's port: Gloo's.
size_t other_connections(const Command& process) {
  size_t count = 0;
  for (const Connection& connection : connections_of(process))
    count +=
        connection.from != Hosts::address(1, hosts_port) && connection.to != Hosts::address(0, hosts_port) &&
        connection.from != Hosts::address(0, hosts_port) && connection.to != Hosts::address(1, hosts_port);
  return count;
}

}  // namespace

TEST_CASE(
    "a run over two hosts with certificates: all between them is encrypted unless the network is trusted",
    "[slow]") {
  if (skipped()) return;
  TwoHosts all;
  const Training expected = all.bench.train("reference", four_stages);
  const auto compare = [&](const std::string& name, const Settings& settings) {
    const Outcome outcome = all.start(name, four_stages + settings)->wait();
    REQUIRE_CODE(outcome, 0);
    CHECK_SAME(expected, all.bench.training(name));
  };
  const auto connections_of_run = [&](const std::string& name, const Settings& settings) {
    const auto run = all.start(name, endless_stages + settings);
    REQUIRE(run->wait_until([&] { return all.bench.steps_done(name) >= 3; }));
    CHECK_FALSE(connections_of(*all.nodes[1]).empty());
    const size_t others = other_connections(*all.nodes[1]);
    run->send(SIGINT);
    CHECK(run->wait().code == 130);
    return others;
  };
  const Settings trusted = {"cluster.trusted_network=true"};
  compare("encrypted", all.tls.settings());
  CHECK(connections_of_run("encrypted_long", all.tls.settings()) == 0);
  compare("trusted", all.tls.settings() + trusted);
  CHECK(connections_of_run("trusted_long", all.tls.settings() + trusted) > 0);
}

TEST_CASE("between hosts nobody listens, and no run starts, without certificates", "[slow]") {
  if (skipped()) return;
  const TwoHosts all;
  check_refused(run_command({"node", "--listen", Hosts::address(1, 5002)}, all.on(1)), 2,
                {Hosts::address(1, 5002), "certificates"});
  check_refused(all.start("run", four_stages)->wait(), 2, {"cluster.tls", "cluster.trusted_network"});
  const Outcome outcome = all.start("run", four_stages + Settings{"cluster.trusted_network=true"})->wait();
  check_refused(outcome, 2, {"node " + Hosts::address(0, hosts_port), "certificates of the same authority"});
  CHECK(outcome.seconds < soon_s);
}

TEST_CASE("when the cable is cut the run ends within 5 s with the host's name, and the other goes on",
          "[slow]") {
  if (skipped()) return;
  const bool trusted = GENERATE(false, true), stages = GENERATE(false, true);
  CAPTURE(trusted, stages);
  const TwoHosts all;
  const Settings tls =
      all.tls.settings() + Settings{std::string("cluster.trusted_network=") + (trusted ? "true" : "false")};
  const auto run = all.start("run", (stages ? four_stages : two_replicas) + endless + tls);
  REQUIRE(run->wait_until([&] { return all.bench.steps_done("run") >= 5; }));
  const auto cut = std::chrono::steady_clock::now();
  all.hosts.cut_cable();
  const Outcome outcome = run->wait();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - cut).count();
  INFO(outcome.report() << "\nended after " << seconds << " s");
  check_refused(outcome, 1, {"node " + Hosts::address(1, hosts_port), "ranks 2 to 3", "gone"});
  CHECK(seconds < soon_s);
  for (const auto& node : all.nodes)
    CHECK(node->wait_until([&] { return has(node->errors(), "the run has ended"); }, 2 * soon_s));
  const Outcome again = all.start("again", four_stages + tls, Hosts::address(0, hosts_port))->wait();
  REQUIRE_CODE(again, 0);
}

TEST_CASE("processes that a job manager starts on two hosts find each other", "[slow]") {
  if (skipped()) return;
  const TwoHosts all;
  const Settings settings = {"parallel.pp_size=3"};
  const Training expected = all.bench.train("reference", settings);
  std::vector<std::unique_ptr<Command>> processes;
  for (const int rank : {2, 1, 0}) {
    CommandOptions options = all.on(rank == 0 ? 0 : 1);
    options.environment["MASTER_ADDR"] = "10.83.0.1";
    options.environment["MASTER_PORT"] = "5003";
    options.environment["SLURM_PROCID"] = std::to_string(rank);
    options.environment["SLURM_NTASKS"] = "3";
    processes.push_back(
        std::make_unique<Command>(all.bench.run_arguments("run", settings + all.tls.settings()), options));
  }
  for (const auto& process : processes) REQUIRE_CODE(process->wait(), 0);
  CHECK_SAME(expected, all.bench.training("run"));
}

}  // namespace collie::test
