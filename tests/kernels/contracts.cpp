// What a caller could get wrong is refused with std::logic_error that names the shapes, by every
// implementation.
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "kernels/operation_list.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// The message names the operation and both shapes.
void refused(const std::string& operation, const std::vector<std::string>& named,
             const std::function<void()>& f) {
  const std::string message = complaint(f);
  CAPTURE(operation, message);
  CHECK(says(message, operation + ":") + says(message, operation + " ") > 0);
  for (const std::string& part : named) {
    CAPTURE(part);
    CHECK(says(message, part));
  }
}

}  // namespace

TEST_CASE("operations refuse what does not fit and name it", "[contracts]") {
  const std::string implementation = GENERATE("cpu", "reference", "meta");
  CAPTURE(implementation);
  const auto account = std::make_shared<MemoryAccount>();
  const auto ops = implementation == "cpu"         ? make_cpu_operations(1, account)
                   : implementation == "reference" ? make_reference_operations(account)
                                                   : make_meta_operations(1, account);
  const auto make = [&](const Shape& shape) {
    Tensor x = ops->empty(shape, Category::activations);
    ops->fill(x, 1);
    return x;
  };
  Tensor a = make({4, 6}), b = make({4, 5}), row = make({6}), four = make({4}), five = make({5});
  Tensor a2 = make({4, 6}), a3 = make({4, 6}), square = make({4, 4});
  const std::vector<int32_t> ids{0, 1, 2, 3};

  refused("copy", {"[4, 6]", "[4, 5]"}, [&] { ops->copy(a, b); });
  refused("add", {"[4, 6]", "[4, 5]"}, [&] { ops->add(a, b, a2); });
  refused("add", {"[4, 6]", "[4, 5]"}, [&] { ops->add(a, a2, b); });
  refused("add_row", {"[4, 6]", "[5]"}, [&] { ops->add_row(a, five); });
  refused("column_sum", {"[4, 6]", "[4]"}, [&] { ops->column_sum(a, four, false); });
  refused("scale_columns", {"[4, 6]", "[5]"}, [&] { ops->scale_columns(a, five, a2); });
  refused("column_dots", {"[4, 6]", "[4, 5]"}, [&] { ops->column_dots(a, b, row, false); });
  refused("row_sums_of_squares", {"[4, 6]", "[5]"}, [&] { ops->row_sums_of_squares(a, five); });
  refused("gemm nn", {"[4, 6]", "[4, 5]"}, [&] { ops->gemm(GemmForm::nn, a, b, a2, false); });
  refused("gemm nt", {"[4, 6]", "[4, 4]", "[4, 5]"}, [&] { ops->gemm(GemmForm::nt, a, a2, b, false); });
  refused("gemm tn", {"[6, 5]", "[4, 6]"}, [&] { ops->gemm(GemmForm::tn, a, b, a2, false); });
  refused("embedding", {"[4, 6]", "[4, 5]"}, [&] { ops->embedding(a, ids, b); });
  refused("embedding", {"4", "[4, 6]"}, [&] { ops->embedding(a, std::vector<int32_t>{0, 1, 2, 4}, a2); });
  refused("embedding", {"3", "[4, 6]"}, [&] { ops->embedding(a, std::vector<int32_t>{0, 1, 2}, a2); });
  refused("embedding", {"[4, 6]", "[4, 5]"}, [&] { ops->embedding_backward(ids, a, b, false); });
  refused("rms_norm", {"[4, 6]", "[5]"}, [&] { ops->rms_norm(a, five, 0, 1e-5, a2, four); });
  refused("rms_norm", {"[4, 6]", "[5]"}, [&] { ops->rms_norm(a, row, 0, 1e-5, a2, five); });
  refused("rms_norm_backward_input", {"[4, 6]", "[4, 5]"},
          [&] { ops->rms_norm_backward_input(b, a, row, 0, four, {}, a2); });
  refused("rms_norm_backward_input", {"[4, 6]", "[4, 5]"},
          [&] { ops->rms_norm_backward_input(a, a, row, 0, four, b, a2); });
  refused("add_rms_norm", {"[4, 6]", "[4, 5]"}, [&] { ops->add_rms_norm(a, b, row, 0, 1e-5, a2, a3, four); });
  refused("gemm_add_row", {"[4, 4]", "[6]"}, [&] { ops->gemm_add_row(GemmForm::nt, a, a2, row, square); });
  refused("rms_norm_backward_weight", {"[4, 6]", "[5]"},
          [&] { ops->rms_norm_backward_weight(a, a2, four, five, false); });
  Tensor of_rows = make({4, 2}), strided_of_rows = make({4, 5}).columns(0, 2);
  refused("layer_norm", {"[4, 6]", "[5]"}, [&] { ops->layer_norm(a, five, {}, 1e-5, a2, of_rows); });
  refused("layer_norm", {"bias", "[4, 6]", "[5]"}, [&] { ops->layer_norm(a, row, five, 1e-5, a2, of_rows); });
  refused("layer_norm", {"statistics", "[4]", "[4, 2]"},
          [&] { ops->layer_norm(a, row, row, 1e-5, a2, four); });
  refused("layer_norm", {"statistics", "5 elements"},
          [&] { ops->layer_norm(a, row, row, 1e-5, a2, strided_of_rows); });
  refused("add_layer_norm", {"residual", "[4, 6]", "[4, 5]"},
          [&] { ops->add_layer_norm(a, b, row, row, 1e-5, a2, a3, of_rows); });
  refused("layer_norm_backward_input", {"[4, 6]", "[4, 5]"},
          [&] { ops->layer_norm_backward_input(b, a, row, of_rows, {}, a2); });
  refused("layer_norm_backward_input", {"d_residual", "[4, 6]", "[4, 5]"},
          [&] { ops->layer_norm_backward_input(a, a, row, of_rows, b, a2); });
  refused("layer_norm_backward_weight", {"[4, 6]", "[5]"},
          [&] { ops->layer_norm_backward_weight(a, a2, of_rows, five, false); });
  const auto relu = Activation::relu;
  refused("gated", {"[4, 6]", "[4, 5]"}, [&] { ops->gated(relu, a, b, a2); });
  refused("gated_backward", {"[4, 6]", "[4, 5]"}, [&] { ops->gated_backward(relu, a, a2, a3, a, b); });
  refused("activate", {"[4, 6]", "[4, 5]"}, [&] { ops->activate(relu, a, b); });
  refused("activate_backward", {"[4, 6]", "[4, 5]"}, [&] { ops->activate_backward(relu, a, a2, b); });
  const std::vector<uint64_t> all_rows{0, 1, 2, 3}, few_rows{0, 1, 2};
  refused("dropout", {"[4, 6]", "[4, 5]"}, [&] { ops->dropout(a, 0.5, 1, all_rows, 0, b); });
  refused("dropout", {"3 rows", "[4, 6]"}, [&] { ops->dropout(a, 0.5, 1, few_rows, 0, a2); });
  refused("dropout", {"rate of 1.5"}, [&] { ops->dropout(a, 1.5, 1, all_rows, 0, a2); });
  const auto doubles = [&](const Shape& shape) { return ops->empty(shape, DType::f64, Category::workspace); };
  Tensor statistics = doubles({4, 3}), all_statistics = doubles({2, 4, 3}), wide = doubles({4, 4});
  Tensor sum = doubles({1}), two_sums = doubles({2}), three_sums = doubles({3}),
         narrow_sum = ops->empty({1}, DType::bf16, Category::workspace);
  Tensor best = doubles({4, 2});
  refused("gumbel_max", {"3 rows", "[4, 6]"}, [&] { ops->gumbel_max(a, 0, 1, few_rows, best); });
  refused("gumbel_max", {"[4, 6]", "-6"}, [&] { ops->gumbel_max(a, -6, 1, all_rows, best); });
  refused("gumbel_max", {"[4, 3]", "[4, 2]"}, [&] { ops->gumbel_max(a, 0, 1, all_rows, statistics); });
  refused("cross_entropy", {"3 labels", "[4, 6]"}, [&] {
    ops->cross_entropy(a, std::vector<int32_t>{0, 1, 2}, 1, sum);
  });
  refused("cross_entropy", {"label 6", "[4, 6]"}, [&] {
    ops->cross_entropy(a, std::vector<int32_t>{0, 1, 2, 6}, 1, sum);
  });
  refused("cross_entropy", {"loss_sum", "[2]", "[1]"}, [&] { ops->cross_entropy(a, ids, 1, two_sums); });
  refused("cross_entropy", {"loss_sum", "bfloat16", "float64"},
          [&] { ops->cross_entropy(a, ids, 1, narrow_sum); });
  refused("softmax_statistics", {"3 labels", "[4, 6]"}, [&] {
    ops->softmax_statistics(a, std::vector<int32_t>{0, 1, 2}, 0, statistics);
  });
  refused("softmax_statistics", {"label -1", "token 2"}, [&] {
    ops->softmax_statistics(a, std::vector<int32_t>{0, 9, -1, 2}, 0, statistics);
  });
  refused("softmax_statistics", {"[4, 6]", "-6"}, [&] { ops->softmax_statistics(a, ids, -6, statistics); });
  refused("softmax_statistics", {"[4, 3]", "[4, 4]"}, [&] { ops->softmax_statistics(a, ids, 0, wide); });
  refused("softmax_statistics", {"[4, 3]", "4 elements"}, [&] {
    Tensor view = wide.columns(0, 3);
    ops->softmax_statistics(a, ids, 0, view);
  });
  refused("cross_entropy_from_statistics", {"3 labels", "[4, 6]"}, [&] {
    ops->cross_entropy_from_statistics(a, std::vector<int32_t>{0, 1, 2}, 0, all_statistics, 1, sum);
  });
  refused("cross_entropy_from_statistics", {"[4, 3]"},
          [&] { ops->cross_entropy_from_statistics(a, ids, 0, statistics, 1, sum); });
  refused("cross_entropy_from_statistics", {"loss_sum", "[2]", "[1]"},
          [&] { ops->cross_entropy_from_statistics(a, ids, 0, all_statistics, 1, two_sums); });
  refused("cross_entropy_from_statistics", {"[0, 4, 3]"},
          [&] { ops->cross_entropy_from_statistics(a, ids, 0, all_statistics.rows(0, 0), 1, sum); });
  refused("cross_entropy_from_statistics", {"[2, 3, 4]", "[2, 4, 3]"}, [&] {
    ops->cross_entropy_from_statistics(a, ids, 0, all_statistics.reshape({2, 3, 4}), 1, sum);
  });
  refused("embedding", {"-2", "[4, 6]"}, [&] { ops->embedding(a, std::vector<int32_t>{0, -1, -2, 3}, a2); });
  const ElementwiseUpdate adamw = step_of("adamw", {}, 1), factor_of_two = step_of("adamw", {}, 1, two_sums);
  refused("adamw", {"[4, 6]", "[4, 5]"}, [&] { update(*ops, a, b, {a2, a3}, adamw); });
  refused("adamw", {"1 states", "2"}, [&] { update(*ops, a, a2, {a3}, adamw); });
  refused("formula", {"99"}, [&] { update(*ops, a, a2, {a3}, {99, {}, {}, {}}); });
  refused("adamw", {"gradient_factor", "[2]", "[1]"}, [&] { update(*ops, a, a2, {a3, a3}, factor_of_two); });
  refused("block_sums_of_squares", {"[4, 3]"}, [&] { ops->block_sums_of_squares(a.columns(0, 3), sum); });
  refused("block_sums_of_squares", {"[4, 6]", "[2]", "[1]"},
          [&] { ops->block_sums_of_squares(a, two_sums); });
  refused("read", {"values", "[4, 3]"}, [&] { ops->read(statistics); });
  refused("read", {"values", "bfloat16"}, [&] { ops->read(narrow_sum); });
  const auto sums_of = [&](const OrderedRuns& runs) {
    return [&, runs] { ops->ordered_sums(three_sums, runs, two_sums); };
  };
  refused("ordered_sums", {"[2]", "2 starts", "3"}, sums_of({{0, 1}, {0}, {1}}));
  refused("ordered_sums", {"0 starts"}, sums_of({}));
  refused("ordered_sums", {"1 to 1", "0 to 1"}, sums_of({{1, 1, 1}, {0}, {1}}));
  refused("ordered_sums", {"0 to 2", "0 to 1"}, sums_of({{0, 1, 2}, {0}, {1}}));
  refused("ordered_sums", {"start 1 is 2", "start 2 is 1"}, sums_of({{0, 2, 1}, {0}, {1}}));
  refused("ordered_sums", {"1 firsts", "2 counts"}, sums_of({{0, 1, 1}, {0}, {1, 1}}));
  refused("ordered_sums", {"run 1", "2 values from 2", "[3]"}, sums_of({{0, 1, 2}, {0, 2}, {1, 2}}));
  refused("ordered_sums", {"run 0", "1 values from -1"}, sums_of({{0, 1, 1}, {-1}, {1}}));
  refused("ordered_sums", {"run 0", "-1 values from 1"}, sums_of({{0, 1, 1}, {1}, {-1}}));
  const auto trees_of = [&](const TreeRuns& runs) {
    return [&, runs] { ops->tree_sums(three_sums, runs, two_sums); };
  };
  refused("tree_sums", {"[2]", "2 starts", "3"}, trees_of({{0, 1}, {0}, {1}, {0}}));
  refused("tree_sums", {"run 1", "2 values from 2", "[3]"}, trees_of({{0, 1, 2}, {0, 2}, {1, 2}, {0, 0}}));
  refused("tree_sums", {"1 firsts", "0 heights"}, trees_of({{0, 1, 1}, {0}, {1}, {}}));
  refused("tree_sums", {"node 0", "height -1"}, trees_of({{0, 1, 1}, {0}, {1}, {-1}}));
  refused("tree_sums", {"sum 0", "node 1", "height 2", "height 1"},
          trees_of({{0, 2, 2}, {0, 1}, {1, 1}, {1, 2}}));
  refused("ordered_sums", {"values", "[4, 3]"}, [&] {
    ops->ordered_sums(statistics, {{0, 0}, {}, {}}, sum);
  });
  refused("step_outcome", {"outcome", "[2]", "[3]"}, [&] { ops->step_outcome(sum, sum, {1}, two_sums); });
  refused("step_outcome", {"loss_sum", "[2]", "[1]"},
          [&] { ops->step_outcome(two_sums, sum, {1}, three_sums); });
  refused("step_outcome", {"sum_of_squares", "[2]", "[1]"},
          [&] { ops->step_outcome(sum, two_sums, {1}, three_sums); });

  Tensor x = make({4, 2, 6}), kv = make({4, 2, 4}), k3 = make({4, 3, 6}), lse = make({4, 2}),
         x2 = make({4, 2, 6});
  Tensor table = make({8, 3}), wide_table = make({8, 4});
  refused("rope", {"[4, 2, 6]", "[8, 4]"}, [&] { ops->rope(x, wide_table, wide_table, ids, false); });
  refused("rope", {"position 8", "[8, 3]"}, [&] {
    ops->rope(x, table, table, std::vector<int32_t>{0, 1, 8, 2}, false);
  });
  const AttentionSpans spans{{0, 4}, {0, 4}};
  refused("attention", {"[4, 2, 6]", "[4, 2, 4]"}, [&] { ops->attention(x, kv, kv, spans, 1, x2, lse); });
  refused("attention", {"[4, 2, 6]", "[4, 3, 6]"}, [&] { ops->attention(x, k3, k3, spans, 1, x2, lse); });
  refused("attention", {"query_starts", "[4, 2, 6]"}, [&] {
    ops->attention(x, x, x, {{0, 3}, {0, 4}}, 1, x2, lse);
  });
  refused("attention", {"document 0", "3 queries"}, [&] {
    ops->attention(x, x, x, {{0, 3, 4}, {0, 2, 4}}, 1, x2, lse);
  });
  refused("attention", {"document 1", "no key"}, [&] {
    ops->attention(x, x, x, {{0, 3, 4}, {0, 4, 4}, false}, 1, x2, lse);
  });
  refused("attention", {"window of -1"}, [&] {
    ops->attention(x, x, x, {{0, 4}, {0, 4}, true, -1}, 1, x2, lse);
  });
  refused("attention", {"window of 2", "not causal"}, [&] {
    ops->attention(x, x, x, {{0, 4}, {0, 4}, false, 2}, 1, x2, lse);
  });
  for (const int64_t window : {0, 3})
    refused("attention", {"3 tokens past the keys", fmt::format("window of {}", window)}, [&] {
      ops->attention(x, x, x, {{0, 4}, {0, 4}, true, window, 3}, 1, x2, lse);
    });
  refused("attention", {"document 0", "4 queries and 2 keys", "1 tokens past"}, [&] {
    ops->attention(x, x.rows(0, 2), x.rows(0, 2), {{0, 4}, {0, 2}, true, 3, 1}, 1, x2, lse);
  });
  const auto scored = [&](double soft_cap, double dropout, size_t rows, size_t first_keys) {
    const std::vector<uint64_t> numbers(8);
    AttentionScores scores(1);
    scores.soft_cap = soft_cap;
    scores.dropout = dropout;
    scores.query_rows = std::span(numbers).first(rows);
    scores.first_keys = std::span(numbers).first(first_keys);
    ops->attention(x, x, x, spans, scores, x2, lse);
  };
  refused("attention", {"soft cap of -1"}, [&] { scored(-1, 0, 0, 0); });
  refused("attention", {"dropout of 1.5"}, [&] { scored(0, 1.5, 4, 1); });
  refused("attention", {"3 query_rows", "[4, 2, 6]"}, [&] { scored(0, 0.5, 3, 1); });
  refused("attention", {"2 first_keys", "1 documents"}, [&] { scored(0, 0.5, 4, 2); });
  CHECK_NOTHROW(scored(2, 0.5, 4, 1));
  Tensor short_lse = make({3, 2}), strided_lse = make({4, 5}).columns(0, 2);
  refused("merge_attention", {"[4, 2, 6]", "[4, 2, 4]"}, [&] { ops->merge_attention(x, lse, kv, lse); });
  refused("merge_attention", {"[3, 2]", "[4, 2]"}, [&] { ops->merge_attention(x, lse, x2, short_lse); });
  refused("merge_attention", {"[4, 2]", "5 elements"},
          [&] { ops->merge_attention(x, strided_lse, x2, lse); });
  refused("attention_backward", {"[4, 2, 6]", "[4, 2, 4]"},
          [&] { ops->attention_backward(x, x, x, spans, 1, x2, lse, x, x2, kv, x2); });
}

TEST_CASE("operations refuse tensors of another dtype", "[contracts]") {
  const auto account = std::make_shared<MemoryAccount>();
  const auto cpu = make_cpu_operations(1, account), reference = make_reference_operations(account);
  Tensor narrow = cpu->empty({2, 2}, Category::activations),
         wide = reference->empty({2, 2}, Category::activations);
  refused("add", {"float64", "float32"}, [&] { cpu->add(narrow, wide, narrow); });
  refused("gemm", {"float64", "float32"}, [&] { reference->gemm(GemmForm::nn, wide, wide, narrow, false); });
  Tensor statistics = cpu->empty({2, 3}, Category::activations);
  refused("softmax_statistics", {"float64", "float32"}, [&] {
    cpu->softmax_statistics(narrow, std::vector<int32_t>{0, 1}, 0, statistics);
  });
  refused("scale", {"empty"}, [&] {
    Tensor none;
    cpu->scale(none, 1);
  });
  refused("clamp", {"-0.5", "at least 0"}, [&] { cpu->clamp(narrow, -0.5); });
}

TEST_CASE("the list of operations has every virtual function of the table", "[contracts]") {
  std::stringstream header;
  header << std::ifstream(std::string(COLLIE_SOURCE_DIR) + "/kernels/operations.hpp").rdbuf();
  const std::string text = header.str();
  std::set<std::string> declared, listed;
  // "virtual RESULT NAME(", with the result in one word, or with arguments of a template.
  const std::regex declaration(R"(virtual\s+[\w:]+(?:<[^(]*>)?\s+(\w+)\()");
  for (std::sregex_iterator at(text.begin(), text.end(), declaration), end; at != end; ++at)
    declared.insert((*at)[1]);
#define COLLIE_NAME(result, name, parameters, arguments) listed.insert(#name);
  COLLIE_COMPUTING_OPERATIONS(COLLIE_NAME)
  COLLIE_OTHER_OPERATIONS(COLLIE_NAME)
  COLLIE_CONSTANT_OPERATIONS(COLLIE_NAME)
#undef COLLIE_NAME
  CHECK(listed == declared);
  CHECK(declared.count("rms_norm_backward_input") == 1);
}

TEST_CASE("an arena has at least one thread", "[contracts]") {
  CHECK(says(complaint([] { make_cpu_operations(0, std::make_shared<MemoryAccount>()); }), "0"));
}
