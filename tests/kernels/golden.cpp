// Operations against PyTorch's functions and their gradients (tests/golden/make_operations_golden.py).
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

namespace {

json all_cases() {
  return json::parse(std::ifstream(std::string(COLLIE_SOURCE_DIR) + "/tests/golden/operations.json"));
}

Activation activation_of(const std::string& name) {
  const std::map<std::string, Activation> all{{"silu", Activation::silu},
                                              {"gelu", Activation::gelu},
                                              {"gelu_tanh", Activation::gelu_tanh},
                                              {"relu", Activation::relu}};
  return all.at(name);
}

// One case on one table.
class Golden {
 public:
  Golden(Operations& ops, const json& golden)
      : ops_(ops), bench_(ops, true), tensors_(golden.at("tensors")), options_(golden.at("options")) {}

  void check(const std::string& operation) {
    if (operation == "layer_norm") return layer_norm();
    if (operation == "rms_norm") return rms_norm();
    if (operation == "activate") return activate();
    if (operation == "gated") return gated();
    if (operation == "attention") return attention();
    FAIL("unknown operation " << operation);
  }

 private:
  Values values(const std::string& name) const {
    Values found{{}, tensors_.at(name).at("values").get<std::vector<float>>()};
    const auto shape = tensors_.at(name).at("shape").get<std::vector<int64_t>>();
    found.shape = shape.size() == 1   ? Shape{shape[0]}
                  : shape.size() == 2 ? Shape{shape[0], shape[1]}
                                      : Shape{shape[0], shape[1], shape[2]};
    return found;
  }
  Tensor in(const std::string& name) {
    return tensors_.contains(name) ? bench_.input(values(name)) : Tensor();
  }
  Tensor out(const std::string& name) { return bench_.output(values(name).shape); }
  void is(const std::string& name, const Tensor& found) {
    INFO(name);
    CHECK(relative_error(bench_.read(found), values(name).data) < 1e-6);
  }

  void layer_norm() {
    const double eps = options_.at("eps");
    const Tensor x = in("x"), weight = in("weight"), bias = in("bias"), dy = in("d_out");
    Tensor y = out("out"), dx = out("d_x"), d_weight = out("d_weight");
    Tensor statistics = bench_.statistics(Shape{x.dim(0), 2});
    ops_.layer_norm(x, weight, bias, eps, y, statistics);
    ops_.layer_norm_backward_input(dy, x, weight, statistics, {}, dx);
    ops_.layer_norm_backward_weight(dy, x, statistics, d_weight, false);
    is("out", y);
    is("d_x", dx);
    is("d_weight", d_weight);
    if (!bias.defined()) return;
    Tensor d_bias = out("d_bias");
    ops_.column_sum(dy, d_bias, false);
    is("d_bias", d_bias);
  }

  void rms_norm() {
    const double eps = options_.at("eps"), offset = options_.at("offset");
    const Tensor x = in("x"), weight = in("weight"), dy = in("d_out");
    Tensor y = out("out"), dx = out("d_x"), d_weight = out("d_weight");
    Tensor inverse_rms = bench_.statistics(Shape{x.dim(0)});
    ops_.rms_norm(x, weight, offset, eps, y, inverse_rms);
    ops_.rms_norm_backward_input(dy, x, weight, offset, inverse_rms, {}, dx);
    ops_.rms_norm_backward_weight(dy, x, inverse_rms, d_weight, false);
    is("out", y);
    is("d_x", dx);
    is("d_weight", d_weight);
  }

  void activate() {
    const Activation activation = activation_of(options_.at("activation"));
    Tensor y = out("out"), dx = out("d_x");
    ops_.activate(activation, in("x"), y);
    ops_.activate_backward(activation, in("x"), in("d_out"), dx);
    is("out", y);
    is("d_x", dx);
  }

  void gated() {
    const Activation activation = activation_of(options_.at("activation"));
    Tensor y = out("out"), d_gate = out("d_gate"), d_up = out("d_up");
    ops_.gated(activation, in("gate"), in("up"), y);
    ops_.gated_backward(activation, in("gate"), in("up"), in("d_out"), d_gate, d_up);
    is("out", y);
    is("d_gate", d_gate);
    is("d_up", d_up);
  }

  void attention() {
    const Tensor q = in("q"), k = in("k"), v = in("v");
    const auto queries = static_cast<int32_t>(q.dim(0)), keys = static_cast<int32_t>(k.dim(0));
    std::vector<uint64_t> rows(static_cast<size_t>(queries));
    std::iota(rows.begin(), rows.end(), options_.at("first_row").get<uint64_t>());
    const std::vector<uint64_t> first_keys{options_.at("first_key").get<uint64_t>()};
    AttentionScores scores(options_.at("scale").get<double>());
    scores.soft_cap = options_.at("soft_cap");
    scores.dropout = options_.at("dropout");
    scores.dropout_key = options_.at("key");
    scores.query_rows = rows;
    scores.first_keys = first_keys;
    const AttentionSpans spans{{0, queries}, {0, keys}};
    Tensor y = out("out"), dq = out("d_q"), dk = out("d_k"), dv = out("d_v");
    Tensor log_sum_exp = bench_.statistics(Shape{q.dim(0), q.dim(1)});
    ops_.attention(q, k, v, spans, scores, y, log_sum_exp);
    ops_.attention_backward(q, k, v, spans, scores, y, log_sum_exp, in("d_out"), dq, dk, dv);
    is("out", y);
    is("d_q", dq);
    is("d_k", dk);
    is("d_v", dv);
  }

  Operations& ops_;
  Bench bench_;
  const json& tensors_;
  const json& options_;
};

}  // namespace

TEST_CASE("operations and their gradients are PyTorch's", "[known]") {
  const json cases = all_cases();
  REQUIRE(cases.size() == 16);
  for (const json& golden : cases) {
    const std::string operation = golden.at("operation");
    INFO(operation << " " << golden.at("options").dump());
    on_every_table([&](Operations& ops) { Golden(ops, golden).check(operation); });
  }
}
