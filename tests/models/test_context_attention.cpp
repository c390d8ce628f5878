// Attention with contexts against its definition, a mask, in double.
#include "models/context_attention.hpp"

#include "models/blanks.hpp"
#include "tests/models/messages.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr int64_t masked_heads = 2, masked_width = 4;
const std::vector<int32_t> masked_starts = {0, 1, 1, 7, 9, 14}, masked_contexts = {1, 0, 4, 0, 2};
const int64_t masked_tokens = masked_starts.back();

// Whether a token sees another one.
bool masked_sees(int64_t query, int64_t key) {
  for (size_t i = 0; i < masked_contexts.size(); ++i)
    if (masked_starts[i] <= query && query < masked_starts[i + 1])
      return masked_starts[i] <= key && key < masked_starts[i + 1] &&
             (key <= query || key < masked_starts[i] + masked_contexts[i]);
  return false;
}

// What a query of a head gets of all keys that it sees.
std::vector<double> masked_attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale) {
  const std::vector<double> qs = doubles(q), ks = doubles(k), vs = doubles(v);
  const auto at = [](int64_t token, int64_t head, int64_t channel) {
    return static_cast<size_t>((token * masked_heads + head) * masked_width + channel);
  };
  std::vector<double> out(qs.size());
  for (int64_t i = 0; i < masked_tokens; ++i)
    for (int64_t h = 0; h < masked_heads; ++h) {
      double sum = 0;
      for (int64_t j = 0; j < masked_tokens; ++j) {
        if (!masked_sees(i, j)) continue;
        double product = 0;
        for (int64_t c = 0; c < masked_width; ++c) product += qs[at(i, h, c)] * ks[at(j, h, c)];
        const double weight = std::exp(scale * product);
        sum += weight;
        for (int64_t c = 0; c < masked_width; ++c) out[at(i, h, c)] += weight * vs[at(j, h, c)];
      }
      for (int64_t c = 0; c < masked_width; ++c) out[at(i, h, c)] /= sum;
    }
  return out;
}

struct MaskedInputs {
  explicit MaskedInputs(Operations& operations)
      : q(random_tensor(operations, {masked_tokens, masked_heads, masked_width}, "q")),
        k(random_tensor(operations, {masked_tokens, masked_heads, masked_width}, "k")),
        v(random_tensor(operations, {masked_tokens, masked_heads, masked_width}, "v")),
        d_out(random_tensor(operations, {masked_tokens, masked_heads, masked_width}, "d_out")),
        out(operations.empty({masked_tokens, masked_heads, masked_width}, Category::workspace)),
        log_sum_exp(operations.empty({masked_tokens, masked_heads}, operations.accumulation_dtype(),
                                     Category::workspace)) {}

  Tensor q, k, v, d_out, out, log_sum_exp;
};

}  // namespace

TEST_CASE("attention by parts is what a mask makes of it", "[blanks]") {
  const auto owner = make_operations("reference");
  MaskedInputs x(*owner.operations);
  const auto parts = parts_of_documents(masked_starts, masked_contexts, false);
  attention_by_parts(*owner.operations, parts, x.q, x.k, x.v, AttentionScores(0.7), x.out, x.log_sum_exp);
  CHECK(relative_error(doubles(x.out), masked_attention(x.q, x.k, x.v, 0.7)) < 1e-13);
}

TEST_CASE("gradients of attention by parts are those of differences, and every device has them", "[blanks]") {
  const std::string device = GENERATE(from_range(all_devices));
  const auto owner = make_operations(device), reference = make_operations("reference");
  Operations& operations = *owner.operations;
  MaskedInputs x(operations), exact(*reference.operations);
  const AttentionScores scores(0.7);
  const auto parts = parts_of_documents(masked_starts, masked_contexts, false);
  attention_by_parts(operations, parts, x.q, x.k, x.v, scores, x.out, x.log_sum_exp);
  // Side by side, as a model has them: their rows lie apart.
  const int64_t width = masked_heads * masked_width;
  Tensor packed = operations.empty({masked_tokens, 3 * width}, Category::workspace);
  operations.fill(packed, NAN);
  std::vector<Tensor> gradients;
  for (int64_t i = 0; i < 3; ++i)
    gradients.push_back(
        packed.columns(i * width, (i + 1) * width).reshape({masked_tokens, masked_heads, masked_width}));
  attention_by_parts_backward(operations, parts, x.q, x.k, x.v, scores, x.out, x.log_sum_exp, x.d_out,
                              gradients[0], gradients[1], gradients[2]);
  const std::vector<double> d_out = doubles(exact.d_out);
  const auto f = [&] {
    const std::vector<double> out = masked_attention(exact.q, exact.k, exact.v, scores.scale);
    double sum = 0;
    for (size_t i = 0; i < out.size(); ++i) sum += out[i] * d_out[i];
    return sum;
  };
  Tensor* const inputs[] = {&exact.q, &exact.k, &exact.v};
  for (size_t i = 0; i < 3; ++i) {
    CAPTURE(device, i);
    CHECK(relative_error(values(operations, gradients[i]), finite_differences(*inputs[i], f)) <
          (device == "reference" ? 1e-6 : 1e-5));
  }
}

TEST_CASE("a prompt's tokens see the keys before it, and those of a context each other", "[blanks]") {
  const auto owner = make_operations("reference");
  Operations& operations = *owner.operations;
  MaskedInputs x(operations);
  // The third document's six tokens, behind its first as if that were a prefix, or alone.
  const auto rows = [](const Tensor& tensor, int64_t begin) { return tensor.rows(begin, 7); };
  Tensor out = rows(x.out, 2), log_sum_exp = rows(x.log_sum_exp, 2);
  attention_by_parts(operations, parts_of_prompt(3, 5, 1), rows(x.q, 2), rows(x.k, 1), rows(x.v, 1), 0.7, out,
                     log_sum_exp);
  const std::vector<double> all = masked_attention(x.q, x.k, x.v, 0.7), found = doubles(x.out);
  const auto begin = 2 * masked_heads * masked_width, end = 7 * masked_heads * masked_width;
  CHECK(relative_error(std::vector<double>(found.begin() + begin, found.begin() + end),
                       std::vector<double>(all.begin() + begin, all.begin() + end)) < 1e-13);
}

TEST_CASE("plain documents that follow one another are one part", "[blanks]") {
  const std::vector<int32_t> of_plain = {1, 1, 0, 1};
  const auto parts = parts_of_documents(std::vector<int32_t>{0, 2, 5, 5, 9}, of_plain, true);
  REQUIRE(parts.size() == 1);
  CHECK(parts[0].spans.query_starts == std::vector<int32_t>{0, 2, 5, 5, 9});
  CHECK(parts[0].spans.causal);
  CHECK(parts[0].spans.more_keys == std::vector<bool>(4, true));
  CHECK(parts_of_documents(std::vector<int32_t>{0}, {}, false).empty());
}

TEST_CASE("the places of tokens follow from the blank and the start token", "[blanks]") {
  const BlankTokens tokens{9, 8, 7};  // start, gmask, mask
  const auto places = [&](std::vector<int32_t> document) {
    MicroBatch batch;
    batch.tokens = std::move(document);
    batch.document_starts = {0, static_cast<int32_t>(batch.tokens.size())};
    return places_around_blanks(tokens, batch);
  };
  const BlankPlaces recorded = places({0, 8, 9, 3, 4});
  CHECK(recorded.contexts == std::vector<int32_t>{2});
  CHECK(recorded.first == std::vector<int32_t>{0, 1, 1, 1, 1});
  CHECK(recorded.second == std::vector<int32_t>{0, 0, 1, 2, 3});
  // The first gmask of the context comes before every mask; what stands behind the start token counts no
  // more.
  const BlankPlaces several = places({7, 1, 8, 8, 9, 9, 8});
  CHECK(several.contexts == std::vector<int32_t>{4});
  CHECK(several.first == std::vector<int32_t>{0, 1, 2, 3, 2, 2, 2});
  CHECK(several.second == std::vector<int32_t>{0, 0, 0, 0, 1, 2, 3});
  CHECK(places({1, 7, 2, 7, 9, 8}).first == std::vector<int32_t>{0, 1, 2, 3, 1, 1});
  CHECK_FALSE(find_blank(tokens, std::vector<int32_t>{1, 8, 2}));
  CHECK_FALSE(find_blank(tokens, std::vector<int32_t>{1, 9, 8}));
  check_says(message_of<RunError>([&] { places({1, 9, 8}); }), {"document 0", "8", "7", "9"});
}
