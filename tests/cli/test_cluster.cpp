// Runs whose ranks are in other processes: the same results, failures that end soon and name who, and nodes
// that are there for the next run.
#include "tests/cli/cluster.hpp"
#include "tests/cli/workbench.hpp"

namespace collie::test {
namespace {

void check_failed_soon(const Outcome& outcome, double seconds, const std::vector<std::string>& parts) {
  check_refused(outcome, 1, parts);
  INFO(outcome.report());
  CHECK(seconds < soon_s);
}

}  // namespace

TEST_CASE("stages in two processes compute the bits of one process, checkpoints and final model included") {
  const Workbench bench;
  const Training expected = bench.train("reference", four_stages);
  Nodes nodes(2);
  require_done(bench.run("run", four_stages, over(nodes)));
  CHECK_SAME(expected, bench.training("run"));
}

TEST_CASE("a partition that the trainer has measured is that of all processes") {
  const Workbench bench;
  const Settings stages = {"parallel.pp_size=2", "model.config.num_hidden_layers=6"};
  const Training expected = bench.train("reference", stages + Settings{"parallel.partition=uniform"});
  Nodes nodes(2);
  require_done(bench.run("run", stages + Settings{"parallel.partition=measured"}, over(nodes)));
  CHECK_SAME(expected, bench.training("run"));
}

TEST_CASE("a node that is killed ends the run with its name, and the others take the next run") {
  const Workbench bench;
  const Training expected = bench.train("expected", four_stages);
  Nodes nodes(2);
  Command run(bench.run_arguments("run", four_stages + Settings{"train.steps=100000"}, over(nodes)),
              bench.options());
  REQUIRE(run.wait_until([&] { return bench.steps_done("run") >= 7; }));
  nodes.node(1).send(SIGKILL);
  const auto killed = std::chrono::steady_clock::now();
  const Outcome outcome = run.wait();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - killed).count();
  check_failed_soon(outcome, seconds, {"node " + nodes.address(1), "ranks 2 to 3", "gone"});
  REQUIRE(nodes.node(0).wait_until([&] { return has(nodes.node(0).errors(), "the run has ended"); }));
  CHECK(nodes.node(0).running());
  // One node is enough for the same run.
  require_done(bench.run("again", four_stages, {"--nodes", nodes.address(0)}));
  CHECK_SAME(expected, bench.training("again"));
}

TEST_CASE("an exception in a rank on a node ends the run with the rank and its cause") {
  const Workbench bench;
  Nodes nodes(2, bench.options("stage.backward:9:throw"));
  const Outcome outcome = bench.run("run", four_stages, over(nodes));
  check_failed_soon(outcome, outcome.seconds, {"rank ", " on node 127.0.0.1:", "failpoint stage.backward"});
}

TEST_CASE("nodes outlive a trainer that is killed") {
  const Workbench bench;
  Nodes nodes(2);
  Command run(bench.run_arguments("run", four_stages + Settings{"train.steps=100000"}, over(nodes)),
              bench.options());
  REQUIRE(run.wait_until([&] { return bench.steps_done("run") >= 3; }));
  run.send(SIGKILL);
  run.wait();
  for (const size_t node : {0, 1})
    CHECK(nodes.node(node).wait_until([&] { return has(nodes.node(node).errors(), "the run has ended"); },
                                      soon_s));
  require_done(bench.run("next", four_stages, over(nodes)));
}

TEST_CASE("an interrupt of a run over nodes leaves a checkpoint that resumes to the same bits", "[slow]") {
  const Workbench bench;
  const Settings settings = four_stages + Settings{"train.steps=300", "checkpoint.every_n_steps=100"};
  const Training expected = bench.train("expected", settings);
  Nodes nodes(2);
  Command run(bench.run_arguments("run", settings, over(nodes)), bench.options());
  REQUIRE(run.wait_until([&] { return bench.steps_done("run") >= 5; }));
  run.send(SIGINT);
  CHECK(run.wait().code == 130);
  require_done(bench.run("run", settings, over(nodes, {"--resume"})));
  CHECK_SAME(expected, bench.training("run"));
}

TEST_CASE("nodes that cannot be used are refused before anything starts") {
  const Workbench bench;
  const std::string nobody = loopback(free_port());
  const auto refused = [&](const Settings& settings, const std::string& nodes,
                           const std::vector<std::string>& parts) {
    check_refused(bench.run("run", settings, {"--nodes", nodes}), 2, parts);
    CHECK(bench.steps_done("run") == 0);
    CHECK(bench.checkpoints("run").empty());
  };
  refused(four_stages, nobody, {"node " + nobody, "cannot be reached", "collie-engine node --listen"});
  refused(four_stages, "nowhere", {"cluster.nodes", "'nowhere'", "HOST:PORT"});
  refused(four_stages, "10.255.255.1:5001",
          {"node 10.255.255.1:5001", "cluster.tls", "cluster.trusted_network"});
  Nodes nodes(3);
  refused(four_stages, nodes.list(), {"4 ranks", "3 nodes", "3 or 6"});
}

TEST_CASE("a node starts again at its address at once") {
  const Workbench bench;
  const std::string address = loopback(free_port());
  for (const char* dir : {"first", "second"}) {
    Command node({"node", "--listen", address}, bench.options());
    REQUIRE(node.wait_until([&] { return has(node.errors(), "listening at"); }));
    Command run(bench.run_arguments(dir, four_stages + Settings{"train.steps=100000"}, {"--nodes", address}),
                bench.options());
    REQUIRE(run.wait_until([&] { return bench.steps_done(dir) >= 2; }));
    node.send(SIGKILL);  // while it is connected
    CHECK(run.wait().code == 1);
  }
}

TEST_CASE("a node of another version is refused") {
  const Workbench bench;
  CommandOptions options;
  options.environment["COLLIE_ENGINE_VERSION"] = "99.0";
  Nodes nodes(1, options);
  check_refused(bench.run("run", {}, over(nodes)), 2, {"node " + nodes.address(0), "99.0"});
}

TEST_CASE("a node listens neither at an open address without certificates nor at one that is taken") {
  const Workbench bench;
  check_refused(bench.command({"node", "--listen", "0.0.0.0:5001"}), 2, {"--listen", "certificate"});
  check_refused(bench.command({"node", "--listen", "127.0.0.1"}), 2, {"--listen", "HOST:PORT"});
  check_refused(bench.command({"node", "--listen", "127.0.0.1:99999"}), 2, {"--listen", "HOST:PORT"});
  Nodes nodes(1);
  check_refused(bench.command({"node", "--listen", nodes.address(0)}), 2, {nodes.address(0)});
  check_refused(bench.command({"node", "--listen", loopback(free_port()), "--certificate", "missing.pem",
                               "--key", "missing.pem", "--ca", "missing.pem"}),
                2, {"cluster.tls.certificate", "missing.pem"});
}

TEST_CASE("processes that a job manager starts with one command find each other, and all end with 0") {
  const Workbench bench;
  const Training expected = bench.train("reference", four_stages);
  const bool slurm = GENERATE(true, false);
  const int port = free_port();
  std::vector<std::unique_ptr<Command>> processes;
  for (const int rank : {1, 0}) {  // the first need not be first
    CommandOptions options = bench.options();
    if (slurm) {
      options.environment["MASTER_ADDR"] = "127.0.0.1";
      options.environment["MASTER_PORT"] = std::to_string(port);
      options.environment["SLURM_PROCID"] = std::to_string(rank);
      options.environment["SLURM_NTASKS"] = "2";
    } else {
      options.environment = job_environment(loopback(port), rank, 2);
    }
    processes.push_back(std::make_unique<Command>(bench.run_arguments("run", four_stages), options));
  }
  for (const auto& process : processes) require_done(process->wait());
  CHECK_SAME(expected, bench.training("run"));
}

TEST_CASE("a process that a job manager started learns of the master's death") {
  const Workbench bench;
  const int port = free_port();
  const auto start = [&](int rank) {
    CommandOptions options = bench.options();
    options.environment = job_environment(loopback(port), rank, 2);
    return std::make_unique<Command>(bench.run_arguments("run", four_stages + Settings{"train.steps=100000"}),
                                     options);
  };
  const auto master = start(0), other = start(1);
  REQUIRE(master->wait_until([&] { return bench.steps_done("run") >= 2; }));
  master->send(SIGKILL);
  master->wait();
  const Outcome outcome = other->wait();
  INFO(outcome.report());
  CHECK(outcome.code == 1);
  CHECK(has(outcome.errors, "gone"));
}

TEST_CASE("an environment that does not add up is refused") {
  const Workbench bench;
  const auto refused = [&](const std::map<std::string, std::string>& environment,
                           const std::vector<std::string>& parts) {
    CommandOptions options = bench.options();
    options.environment = environment;
    check_refused(run_command(bench.run_arguments("run"), options), 2, parts);
  };
  refused({{"COLLIE_ENGINE_MASTER", "127.0.0.1:5001"}}, {"COLLIE_ENGINE_RANK", "number"});
  refused({{"MASTER_ADDR", "127.0.0.1"}, {"RANK", "2"}, {"WORLD_SIZE", "2"}}, {"RANK: is 2", "WORLD_SIZE"});
  refused({{"COLLIE_ENGINE_MASTER", "127.0.0.1"}}, {"COLLIE_ENGINE_MASTER", "HOST:PORT"});
}

}  // namespace collie::test
