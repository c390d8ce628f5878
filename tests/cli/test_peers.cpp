// Who gets in at the ports of nodes and jobs, and what those do who do not.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "tests/cli/cluster.hpp"
#include "tests/cli/tls_files.hpp"

namespace collie::test {
namespace {

constexpr double peers_soon_s = 8 * patience;

CommandOptions with_secret(CommandOptions options, const std::string& secret) {
  options.environment["COLLIE_ENGINE_SECRET"] = secret;
  return options;
}

// tests/cli/strangers.py at a port, until the end of this object's life.
class Strangers {
 public:
  Strangers(const std::string& kind, const std::string& address, int count = 64) {
    const std::string port = address.substr(address.rfind(':') + 1);
    process_ = ::fork();
    REQUIRE(process_ >= 0);
    if (process_ != 0) return;
    const std::string script = std::string(COLLIE_SOURCE_DIR) + "/tests/cli/strangers.py",
                      number = std::to_string(count);
    ::execlp("python3", "python3", script.c_str(), kind.c_str(), port.c_str(), "600", number.c_str(),
             nullptr);
    ::_exit(127);
  }
  ~Strangers() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  Strangers(const Strangers&) = delete;
  Strangers& operator=(const Strangers&) = delete;

 private:
  pid_t process_ = -1;
};

}  // namespace

TEST_CASE("a node that holds a run refuses another trainer by the run's name, and the run never notices",
          "[peers][slow]") {
  const Workbench bench;
  const Settings steps = {"train.steps=300", "run.stall_timeout_s=20"};
  const Training expected = bench.train("reference", four_stages + steps);
  Nodes nodes(2);
  Command run(bench.run_arguments("first", four_stages + steps + Settings{"run.name=mine"}, over(nodes)),
              bench.options());
  REQUIRE(run.wait_until([&] { return bench.steps_done("first") >= 3; }));
  const std::vector<std::string> orders = {nodes.list(), nodes.address(1) + "," + nodes.address(0),
                                           nodes.address(1)};
  for (const std::string& order : orders) {
    const Outcome second = bench.run("second", four_stages + endless, {"--nodes", order});
    check_refused(
        second, 2,
        {"node 127.0.0.1:", "is busy with the run 'mine' of process ", std::to_string(run.process())});
    CHECK(second.seconds < peers_soon_s);
    CHECK(bench.checkpoints("second").empty());
  }
  const Outcome first = run.wait();
  REQUIRE_CODE(first, 0);
  CHECK_SAME(expected, bench.training("first"));
  // Directly after its end they take the next.
  require_done(bench.run("next", four_stages, over(nodes)));
}

TEST_CASE("of two trainers that want the same nodes at the same time one wins", "[peers]") {
  const Workbench bench;
  Nodes nodes(2);
  std::vector<std::unique_ptr<Command>> both;
  for (const std::string& order : {nodes.list(), nodes.address(1) + "," + nodes.address(0)})
    both.push_back(std::make_unique<Command>(
        bench.run_arguments("run" + std::to_string(both.size()), four_stages + Settings{"train.steps=50"},
                            {"--nodes", order}),
        bench.options()));
  std::vector<int> codes;
  for (const auto& each : both) codes.push_back(each->wait().code);
  std::sort(codes.begin(), codes.end());
  CHECK(codes == std::vector<int>{0, 2});
}

TEST_CASE("without certificates a node serves who has its secret, and no one else", "[peers]") {
  const Workbench bench;
  const std::string file = bench.write("secret", "one\n");
  REQUIRE(::chmod(file.c_str(), 0600) == 0);
  Nodes nodes(1, bench.options(), {"--secret-file", file});
  const Settings by_file = {"cluster.secret_file=" + file};
  require_done(bench.run("by_file", by_file, over(nodes)));
  require_done(
      run_command(bench.run_arguments("by_variable", {}, over(nodes)), with_secret(bench.options(), "one")));
  const Outcome other =
      run_command(bench.run_arguments("other", {}, over(nodes)), with_secret(bench.options(), "two"));
  check_refused(other, 2, {"node " + nodes.address(0), "another secret", "COLLIE_ENGINE_SECRET"});
  CHECK(other.seconds < peers_soon_s);
  REQUIRE(::chmod(file.c_str(), 0644) == 0);
  check_refused(bench.run("open", by_file, over(nodes)), 2, {"cluster.secret_file", file, "chmod 600"});
  check_refused(bench.command({"node", "--listen", loopback(free_port()), "--secret-file", file}), 2,
                {"chmod 600"});
}

TEST_CASE("the user's own secret is made where none is given", "[peers]") {
  const Workbench bench;
  CommandOptions options = with_secret(bench.options(), "");
  options.environment["XDG_STATE_HOME"] = bench / "state";
  Nodes nodes(1, options);
  require_done(run_command(bench.run_arguments("run", {}, over(nodes)), options));
  CHECK(std::filesystem::exists(bench / "state/collie-engine/secret"));
}

TEST_CASE("a job's processes must have one secret, and its port is for them alone", "[peers]") {
  const Workbench bench;
  const std::string master = loopback(free_port());
  const auto start = [&](int rank, const std::string& secret) {
    CommandOptions options = with_secret(bench.options(), secret);
    for (const auto& [name, value] : job_environment(master, rank, 2)) options.environment[name] = value;
    return std::make_unique<Command>(bench.run_arguments("run", four_stages + endless), options);
  };
  const auto first = start(0, "one");
  REQUIRE(first->wait_until([&] { return has(first->errors(), "waits for 1 other"); }));
  check_refused(start(1, "two")->wait(), 2, {"the master " + master, "another secret"});
  const auto second = start(1, "one");
  REQUIRE(second->wait_until([&] { return bench.steps_done("run") >= 2; }));
  const auto other_run = run_command(bench.run_arguments("other", four_stages, {"--nodes", master}),
                                     with_secret(bench.options(), "one"));
  check_refused(other_run, 2, {"is busy with the run"});
  check_refused(start(1, "one")->wait(), 2, {"is busy with the run"});
  first->send(SIGINT);
  CHECK(first->wait().code == 130);
}

TEST_CASE("a key that others can read is refused", "[peers]") {
  const Workbench bench;
  const TlsFiles tls(bench);
  REQUIRE(::chmod(tls.trainer.key.c_str(), 0640) == 0);
  check_refused(bench.run("run", four_stages + tls.settings(), {"--nodes", loopback(free_port())}), 2,
                {"cluster.tls.key", tls.trainer.key, "chmod 600"});
}

TEST_CASE("a node whose certificate is for another name is refused, and named", "[peers]") {
  const Workbench bench;
  const TlsFiles tls(bench);
  const CertificateFiles elsewhere = tls.authority.issue("elsewhere", -1, 1, "DNS:elsewhere.cluster");
  Nodes nodes(1, bench.options(), TlsFiles::flags(elsewhere, tls.authority.file()));
  check_refused(
      bench.run("run", tls.settings(), over(nodes)), 2,
      {"node " + nodes.address(0), "its certificate is for elsewhere.cluster", "not for '127.0.0.1'"});
}

TEST_CASE("nodes of two families of addresses are refused before anything is connected", "[peers]") {
  const Workbench bench;
  check_refused(bench.run("run", four_stages, {"--nodes", "127.0.0.1:5101,[::1]:5102"}), 2,
                {"cluster.nodes", "127.0.0.1:5101", "[::1]:5102", "two families"});
}

TEST_CASE("a port that is taken and an address that is not there are named", "[peers]") {
  const Workbench bench;
  Nodes nodes(1);
  const std::string address = nodes.address(0), port = address.substr(address.rfind(':') + 1);
  check_refused(bench.command({"node", "--listen", address}), 2,
                {"--listen " + address, "port " + port + " is in use by process " +
                                            std::to_string(nodes.node(0).process()) + " (collie-engine)"});
  const TlsFiles tls(bench);
  std::vector<std::string> arguments = {"node", "--listen", "192.0.2.1:5001"};
  for (const auto& flag : tls.node_flags()) arguments.push_back(flag);
  check_refused(bench.command(arguments), 2, {"192.0.2.1", "this machine has no address"});
}

TEST_CASE("a run goes on to the same bits whatever strangers do at its nodes' ports", "[peers][slow]") {
  const Workbench bench;
  const TlsFiles tls(bench);
  const Settings steps = four_stages + Settings{"train.steps=100"};
  const Training expected = bench.train("reference", steps);
  const std::vector<const char*> all = {"silent", "half",    "storm", "random",
                                        "slow",   "crafted", "hello", "tls"},
                                 with_certificates = {"silent", "random", "tls"};
  for (const bool encrypted : {false, true}) {
    Nodes nodes(2, bench.options(), encrypted ? tls.node_flags() : std::vector<std::string>());
    const Settings settings = encrypted ? steps + tls.settings() : steps;
    for (const char* const kind : encrypted ? with_certificates : all) {
      INFO(kind << (encrypted ? " with certificates" : ""));
      // Strangers are there before the run, which must get in all the same.
      const Strangers first(kind, nodes.address(0), 1'100), second(kind, nodes.address(1), 200);
      const std::string name = std::string(kind) + (encrypted ? "_tls" : "");
      require_done(bench.run(name, settings, over(nodes)));
      CHECK_SAME(expected, bench.training(name));
      for (const size_t node : {0, 1}) CHECK(nodes.node(node).running());
    }
  }
}

}  // namespace collie::test
