// Runs over processes that know each other by certificates: the same bits with everything encrypted, and
// nobody else is let in.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/cli/cluster.hpp"
#include "tests/cli/tls_files.hpp"

namespace collie::test {
namespace {

const Settings trusted = {"cluster.trusted_network=true"};
constexpr const char* encrypted = "tensors between nodes travel encrypted";
constexpr const char* plain = "tensors between nodes travel over Gloo, not encrypted";

// One that says nothing, or something that is no handshake.
class Visitor {
 public:
  Visitor(const std::string& address, const std::string& words) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    REQUIRE(::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    REQUIRE(::send(socket_, words.data(), words.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(words.size()));
  }
  ~Visitor() { ::close(socket_); }
  Visitor(const Visitor&) = delete;
  Visitor& operator=(const Visitor&) = delete;

 private:
  int socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
};

void require_done(const Outcome& outcome, const char* transport) {
  REQUIRE_CODE(outcome, 0);
  INFO(outcome.report());
  CHECK(has(outcome.errors, transport));
}

}  // namespace

TEST_CASE("stages in two processes with certificates compute the bits of one process, encrypted or over Gloo",
          "[slow]") {
  const Workbench bench;
  const TlsFiles tls(bench);
  const Training expected = bench.train("reference", four_stages);
  Nodes nodes(2, bench.options(), tls.node_flags());
  require_done(bench.run("encrypted", four_stages + tls.settings(), over(nodes)), encrypted);
  CHECK_SAME(expected, bench.training("encrypted"));
  require_done(bench.run("plain", four_stages + tls.settings() + trusted, over(nodes)), plain);
  CHECK_SAME(expected, bench.training("plain"));
}

TEST_CASE("replicas, shards and context give the same bits as messages and over Gloo, in three processes",
          "[slow]") {
  const Workbench bench;
  const TlsFiles tls(bench);
  Nodes nodes(3, bench.options(), tls.node_flags());
  const std::vector<Settings> layouts = {
      {"parallel.dp_size=3", "parallel.pp_size=1", "parallel.zero_stage=3"},
      {"parallel.dp_size=3", "parallel.tp_size=2", "parallel.pp_size=1", "parallel.zero_stage=1"},
      {"parallel.cp_size=2", "parallel.pp_size=3"},
      {"parallel.tp_size=2", "parallel.dp_size=3", "parallel.zero_stage=2", "parallel.pp_size=2"}};
  for (size_t i = 0; i < layouts.size(); ++i) {
    INFO("layout " << i);
    const std::string over_gloo = fmt::format("gloo{}", i), as_messages = fmt::format("messages{}", i);
    require_done(bench.run(over_gloo, layouts[i] + tls.settings() + trusted, over(nodes)), plain);
    require_done(bench.run(as_messages, layouts[i] + tls.settings(), over(nodes)), encrypted);
    CHECK_SAME(bench.training(over_gloo), bench.training(as_messages));
  }
}

TEST_CASE(
    "who has no certificate of the authority is refused within seconds, and the nodes serve the next run") {
  const Workbench bench;
  const TlsFiles tls(bench);
  const Authority others(tls.folder, "others");
  const CertificateFiles rogue = others.issue("rogue");
  const Training expected = bench.train("reference", four_stages);
  Nodes nodes(2, bench.options(), tls.node_flags());
  Nodes open(1);
  const auto refused = [&](const Settings& settings, const Nodes& there) {
    const Outcome outcome = bench.run("refused", four_stages + settings, over(there));
    check_refused(outcome, 2, {"node 127.0.0.1:", "certificates of the same authority"});
    INFO(outcome.report());
    CHECK((has(outcome.errors, there.address(0)) ||
           has(outcome.errors, there.list().substr(there.list().rfind(',') + 1))));
    CHECK(outcome.seconds < soon_s);
    CHECK(bench.steps_done("refused") == 0);
    CHECK(bench.checkpoints("refused").empty());
  };
  refused({}, nodes);
  // To the rogue its own certificate looks good.
  refused(TlsFiles::settings(rogue, others.file()), nodes);
  // A node that anybody may use is not what was asked for.
  refused(tls.settings(), open);
  const Visitor browser(nodes.address(0), "GET / HTTP/1.1\r\n\r\n"), silent(nodes.address(0), "");
  for (const size_t node : {0, 1}) CHECK(nodes.node(node).running());
  require_done(bench.run("run", four_stages + tls.settings(), over(nodes)), encrypted);
  CHECK_SAME(expected, bench.training("run"));
}

TEST_CASE("certificates that would not work are refused by name, of a run and of a node") {
  const Workbench bench;
  const TlsFiles tls(bench);
  const Authority others(tls.folder, "others");
  const CertificateFiles rogue = others.issue("rogue"), expired = tls.authority.issue("expired", -10, -3),
                         early = tls.authority.issue("early", 3, 10);
  const std::string ca = tls.authority.file(), no_pem = bench.write("tls/no.pem", "nothing\n");
  const std::string node = loopback(free_port());
  const auto refused = [&](const CertificateFiles& own, const std::string& authority,
                           const std::vector<std::string>& parts) {
    INFO(own.certificate << " " << own.key << " " << authority);
    check_refused(bench.run("run", four_stages + TlsFiles::settings(own, authority), {"--nodes", node}), 2,
                  parts);
    CHECK(bench.checkpoints("run").empty());
    std::vector<std::string> arguments = {"node", "--listen", node};
    const auto flags = TlsFiles::flags(own, authority);
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    check_refused(bench.command(arguments), 2, parts);
  };
  const std::string missing = tls.folder + "/missing.pem";
  refused({missing, tls.node.key}, ca, {"cluster.tls.certificate", "missing.pem", "No such file"});
  refused({tls.node.certificate, missing}, ca, {"cluster.tls.key", "missing.pem", "No such file"});
  refused(tls.node, missing, {"cluster.tls.ca", "missing.pem", "No such file"});
  refused({no_pem, tls.node.key}, ca, {"cluster.tls.certificate", "no.pem", "holds no certificate"});
  refused({tls.node.certificate, no_pem}, ca, {"cluster.tls.key", "no.pem", "holds no private key"});
  refused(tls.node, no_pem, {"cluster.tls.ca", "no.pem", "holds no certificates"});
  refused({tls.node.certificate, tls.trainer.key}, ca,
          {"cluster.tls.key", "trainer.key", "does not belong", "node.pem"});
  refused(expired, ca, {"cluster.tls.certificate", "expired.pem", "certificate has expired"});
  refused(early, ca, {"cluster.tls.certificate", "early.pem", "not yet valid"});
  refused(rogue, ca, {"cluster.tls.certificate", "rogue.pem", "ca.pem"});
  check_refused(bench.run("run", {"cluster.tls.certificate=" + tls.node.certificate}, {"--nodes", node}), 2,
                {"cluster.tls.key", "missing"});
}

TEST_CASE(
    "a node that is killed ends a run with certificates with its name, and the other takes the next run",
    "[slow]") {
  const Workbench bench;
  const TlsFiles tls(bench);
  Nodes nodes(2, bench.options(), tls.node_flags());
  Command run(
      bench.run_arguments("run", four_stages + tls.settings() + Settings{"train.steps=100000"}, over(nodes)),
      bench.options());
  REQUIRE(run.wait_until([&] { return bench.steps_done("run") >= 4; }));
  nodes.node(1).send(SIGKILL);
  const auto killed = std::chrono::steady_clock::now();
  const Outcome outcome = run.wait();
  CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - killed).count() < soon_s);
  check_refused(outcome, 1, {"node " + nodes.address(1), "ranks 2 to 3", "gone"});
  const Outcome again = bench.run("again", four_stages + tls.settings(), {"--nodes", nodes.address(0)});
  REQUIRE_CODE(again, 0);
}

// CAF takes what a failed handshake left in OpenSSL's queue for the end of a healthy connection.
TEST_CASE("a run with certificates goes on while strangers knock at its nodes") {
  const Workbench bench;
  const TlsFiles tls(bench);
  Nodes nodes(2, bench.options(), tls.node_flags());
  Command run(
      bench.run_arguments("run", four_stages + tls.settings() + Settings{"train.steps=100000"}, over(nodes)),
      bench.options());
  for (int steps = 3; steps < 20; steps += 3) {
    REQUIRE(run.wait_until([&] { return bench.steps_done("run") >= steps; }));
    for (const size_t node : {0, 1}) {
      const Visitor browser(nodes.address(node), "GET / HTTP/1.1\r\n\r\n"), silent(nodes.address(node), "");
    }
  }
  run.send(SIGINT);
  CHECK(run.wait().code == 130);
}

TEST_CASE("an interrupt ends a node whose stranger says nothing") {
  const Workbench bench;
  const TlsFiles tls(bench);
  Nodes nodes(1, bench.options(), tls.node_flags());
  const Visitor silent(nodes.address(0), "");
  nodes.node(0).send(SIGINT);
  CHECK(nodes.node(0).wait_until([&] { return !nodes.node(0).running(); }, soon_s));
  CHECK(nodes.node(0).wait().code == 0);
}

TEST_CASE("an exception in a rank on a node with certificates ends the run with the rank and its cause",
          "[slow]") {
  const Workbench bench;
  const TlsFiles tls(bench);
  Nodes nodes(2, bench.options("stage.backward:9:throw"), tls.node_flags());
  const Outcome outcome = bench.run("run", four_stages + tls.settings(), over(nodes));
  check_refused(outcome, 1, {"rank ", " on node 127.0.0.1:", "failpoint stage.backward"});
  CHECK(outcome.seconds < soon_s);
}

TEST_CASE("three processes that a job manager starts with certificates find each other", "[slow]") {
  const Workbench bench;
  const TlsFiles tls(bench);
  const Settings settings = {"parallel.pp_size=3"};
  const Training expected = bench.train("reference", settings);
  const std::string master = loopback(free_port());
  std::vector<std::unique_ptr<Command>> processes;
  for (const int rank : {1, 2, 0}) {
    CommandOptions options = bench.options();
    options.environment = job_environment(master, rank, 3);
    processes.push_back(
        std::make_unique<Command>(bench.run_arguments("run", settings + tls.settings()), options));
  }
  for (const auto& process : processes) REQUIRE_CODE(process->wait(), 0);
  CHECK_SAME(expected, bench.training("run"));
}

}  // namespace collie::test
