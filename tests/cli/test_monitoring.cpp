// What a run tells of itself while it runs, and that telling changes nothing.
#include <netinet/in.h>
#include <sys/socket.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/descriptor.hpp"
#include "tests/cli/cluster.hpp"
#include "tests/cli/workbench.hpp"
#include "tests/io/prometheus_reader.hpp"

namespace collie::test {
namespace {

using nlohmann::json;

const Settings pipelines_of_two = {"parallel.dp_size=2", "train.gradient_accumulation_steps=2"};

std::string address_of(int port) {
  return "monitor.prometheus=" + loopback(port);
}

Descriptor socket_at(int port, bool listens) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* const at = reinterpret_cast<const sockaddr*>(&address);
  Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const bool done = listens ? ::bind(socket.get(), at, sizeof address) == 0 && ::listen(socket.get(), 1) == 0
                            : ::connect(socket.get(), at, sizeof address) == 0;
  if (!done) socket.close();
  return socket;
}

// "" if nobody listens there.
std::string page_at(int port) {
  const Descriptor socket = socket_at(port, false);
  if (!socket.is_open()) return "";
  const std::string request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
  if (::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
  std::string text;
  char bytes[4096];
  for (ssize_t count = 0; (count = ::recv(socket.get(), bytes, sizeof bytes, 0)) > 0;)
    text.append(bytes, static_cast<size_t>(count));
  return text;
}

PrometheusFamilies families_at(int port) {
  const std::string page = page_at(port);
  const size_t body = page.find("\r\n\r\n");
  return body == std::string::npos ? PrometheusFamilies() : PrometheusReader::read(page.substr(body + 4));
}

double number_at(const PrometheusFamilies& families, const std::string& name) {
  const auto found = families.find(name);
  return found == families.end() || !found->second.samples.contains({}) ? -1 : found->second.samples.at({});
}

std::vector<json> records_of(const Workbench& bench, const std::string& run) {
  std::vector<json> all;
  std::istringstream lines(text_of(bench / (run + "/metrics.jsonl")));
  for (std::string line; std::getline(lines, line);)
    if (!lines.eof()) all.push_back(json::parse(line));
  return all;
}

double number_of(const json& record, const char* name) {
  return record.at(name).get<double>();
}

}  // namespace

TEST_CASE("monitoring: Prometheus reads the numbers of the last step while the run goes on") {
  const Workbench bench;
  const int port = free_port();
  Command command(bench.run_arguments("run", endless + pipelines_of_two + Settings{address_of(port)}),
                  bench.options());
  PrometheusFamilies families;
  REQUIRE(command.wait_until([&] {
    families = families_at(port);
    return number_at(families, "collie_step") >= 8;
  }));
  command.send(SIGINT);
  REQUIRE_CODE(command.wait(), 130);
  CHECK(page_at(port).empty());
  const auto step = static_cast<size_t>(number_at(families, "collie_step"));
  const json record = records_of(bench, "run").at(step - 1);
  REQUIRE(record.at("step") == step);
  for (const auto& [name, value] : record.items())
    if (value.is_number() && name.find('/') == std::string::npos && name != "eval_loss")
      CHECK(number_at(families, "collie_" + name) == value.get<double>());
  CHECK(families.at("collie_peak_bytes").samples.at({{"name", "weights"}}) ==
        number_of(record, "peak_bytes/weights"));
  CHECK(number_at(families, "collie_eval_loss") > 0);  // of step 4 or a later one
  CHECK(families.at("collie_rank_compute_seconds").samples.size() == 4);
  CHECK(families.at("collie_rank_compute_seconds").samples.at({{"rank", "3"}}) > 0);
  CHECK(families.at("collie_rank_peak_bytes").samples.at({{"rank", "0"}, {"category", "activations"}}) > 0);
  CHECK(families.at("collie_read_tokens_total").type == "counter");
  CHECK(families.at("collie_loss").type == "gauge");
  CHECK(families.at("collie_run_info").samples.size() == 1);
}

TEST_CASE("monitoring: an address that cannot be served is refused before anything is written") {
  const Workbench bench;
  const int port = free_port();
  const Descriptor other = socket_at(port, true);
  REQUIRE(other.is_open());
  check_refused(
      bench.run("run", {address_of(port)}), 2,
      {"monitor.prometheus " + loopback(port), "port " + std::to_string(port) + " is in use", " is free)"});
  CHECK(text_of(bench / "run/config.resolved.yaml").empty());  // nothing but a cache of tokens
  // An address that others reach is refused whether the run would start or not.
  for (const std::vector<std::string>& flags : {std::vector<std::string>{}, {"--dry-run"}})
    check_refused(bench.run("run", {"monitor.prometheus=0.0.0.0:9464"}, flags), 2,
                  {"--set monitor.prometheus", "0.0.0.0:9464", "monitor.prometheus_open: true"});
  check_refused(bench.run("run", {"monitor.prometheus=localhost"}), 2, {"monitor.prometheus", "HOST:PORT"});
  check_refused(bench.run("run", {"monitor.wandb=true"}), 2,
                {"--set monitor.wandb", "Weights & Biases", "monitor.tensorboard"});
  CHECK(text_of(bench / "run/config.resolved.yaml").empty());
  CHECK(bench.checkpoints("run").empty());
}

TEST_CASE("monitoring: an address that others reach is served where that is wanted") {
  const Workbench bench;
  const int port = free_port();
  Command command(
      bench.run_arguments("run", endless + Settings{"monitor.prometheus=0.0.0.0:" + std::to_string(port),
                                                    "monitor.prometheus_open=true"}),
      bench.options());
  CHECK(command.wait_until([&] { return number_at(families_at(port), "collie_step") >= 1; }));
  command.send(SIGINT);
  REQUIRE_CODE(command.wait(), 130);
}

TEST_CASE("monitoring: a run computes the same bits, whatever is measured and served") {
  const Workbench bench;
  const Training expected = bench.train("expected");
  const Training found =
      bench.train("all", {address_of(free_port()), "monitor.measure_peak=true", "monitor.csv=true",
                          "monitor.tensorboard=true", "monitor.trace=true"});
  CHECK_SAME(expected, found);
  const std::vector<json> records = records_of(bench, "all");
  REQUIRE(records.size() == 12);
  for (const json& record : records) {
    const double sum = number_of(record, "compute_share") + number_of(record, "communication_share") +
                       number_of(record, "bubble_share") + number_of(record, "data_wait_share") +
                       number_of(record, "save_wait_share");
    CHECK(sum == Approx(1.0));
    CHECK(number_of(record, "mfu") > 0);
    CHECK(number_of(record, "mfu") < 1);
    CHECK(number_of(record, "resident_bytes") > 1e6);
    CHECK(record.at("most_resident_bytes") >= record.at("resident_bytes"));
    CHECK(record.at("peak_bytes/weights") > 0);
    CHECK(record.at("network_bytes_per_second") == 0);
    CHECK(record.at("slow_ranks") == 0);
  }
  CHECK_FALSE(records_of(bench, "expected").front().contains("mfu"));
  CHECK(has(text_of(bench / "all/summary.html"), "(MFU)"));
}

TEST_CASE("monitoring: ranks of several processes report what they send to each other") {
  const Workbench bench;
  const Training expected = bench.train("expected", pipelines_of_two);
  const Nodes nodes(2);
  require_done(bench.run("run", pipelines_of_two, over(nodes)));
  CHECK_SAME(expected, bench.training("run"));
  const std::vector<json> records = records_of(bench, "run");
  REQUIRE(records.size() == 12);
  for (const json& record : records) {
    CHECK(number_of(record, "compute_share") > 0);
    CHECK(number_of(record, "network_bytes_per_second") > 0);
    CHECK(record.at("network_bytes_per_second") <= record.at("sent_bytes_per_second"));
  }
}

}  // namespace collie::test
