// Fused and transposed tensors, cut among tensor ranks: loaded, initialised and put back.
#include <set>

#include "models/pieces.hpp"
#include "tests/catch.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr int64_t inputs = 5, heads_width = 8, kv_width = 4;

// Queries, keys and values of one rank: of one tensor [inputs, all outputs] as GPT-2 has it, or of one tensor
// [all outputs, inputs], or of a tensor each.
Parameter fused(const std::string& form, int rank, int ranks) {
  const std::vector<int64_t> widths = {heads_width, kv_width, kv_width};
  std::vector<Parameter> parts;
  int64_t first = 0;
  for (size_t i = 0; i < widths.size(); ++i) {
    const int64_t all = heads_width + 2 * kv_width;
    Parameter part = form == "transposed" ? part_of_tensor("qkv", {inputs, all}, first, widths[i], true)
                     : form == "packed"   ? part_of_tensor("qkv", {all, inputs}, first, widths[i], false)
                                          : whole_tensor(fmt::format("part {}", i), {widths[i], inputs});
    keep_part(part, 0, rank, ranks);
    parts.push_back(part);
    first += widths[i];
  }
  return stacked("qkv", parts);
}

// What the rank should hold: row after row, the place (tensor, element) of each element, by the definition.
std::vector<std::pair<std::string, int64_t>> expected_places(const std::string& form, int rank, int ranks) {
  std::vector<std::pair<std::string, int64_t>> places;
  const std::vector<int64_t> widths = {heads_width, kv_width, kv_width};
  const int64_t all = heads_width + 2 * kv_width;
  int64_t first = 0;
  for (size_t i = 0; i < widths.size(); ++i) {
    const int64_t share = widths[i] / ranks;
    for (int64_t row = rank * share; row < (rank + 1) * share; ++row)
      for (int64_t column = 0; column < inputs; ++column) {
        if (form == "transposed") places.emplace_back("qkv", column * all + first + row);
        if (form == "packed") places.emplace_back("qkv", (first + row) * inputs + column);
        if (form == "apart") places.emplace_back(fmt::format("part {}", i), row * inputs + column);
      }
    first += widths[i];
  }
  return places;
}

}  // namespace

TEST_CASE("pieces: runs give every element its place in a tensor, whatever range is asked for", "[pieces]") {
  const std::string form = GENERATE("transposed", "packed", "apart");
  const int ranks = GENERATE(1, 2, 4), rank = GENERATE(0, 1);
  CAPTURE(form, ranks, rank);
  if (rank >= ranks) return;
  const Parameter parameter = fused(form, rank, ranks);
  const auto expected = expected_places(form, rank, ranks);
  REQUIRE(parameter.shape == Shape{(heads_width + 2 * kv_width) / ranks, inputs});
  const int64_t numel = parameter.shape.numel();
  for (int64_t begin = 0; begin <= numel; ++begin)
    for (int64_t end = begin; end <= numel; ++end) {
      std::map<int64_t, std::pair<std::string, int64_t>> found;  // by element of the parameter
      for_each_run(parameter, begin, end, [&](const TensorRun& run) {
        for (int64_t i = 0; i < run.count; ++i) {
          const bool is_new =
              found.try_emplace(run.held + i * run.stride, run.piece.tensor, run.first + i).second;
          if (!is_new) FAIL("element " << run.held + i * run.stride << " twice");
        }
      });
      std::map<int64_t, std::pair<std::string, int64_t>> wanted;
      for (int64_t at = begin; at < end; ++at) wanted[at] = expected[static_cast<size_t>(at)];
      if (found != wanted) FAIL("elements [" << begin << ", " << end << ") are misplaced");
    }
}

TEST_CASE("pieces: rectangles cover a range in order, and hold what they say", "[pieces]") {
  const std::string form = GENERATE("transposed", "packed", "apart");
  const int ranks = GENERATE(1, 2);
  CAPTURE(form, ranks);
  const Parameter parameter = fused(form, ranks - 1, ranks);
  const auto expected = expected_places(form, ranks - 1, ranks);
  const int64_t numel = parameter.shape.numel();
  for (int64_t begin = 0; begin <= numel; ++begin)
    for (int64_t end = begin; end <= numel; ++end) {
      int64_t at = begin, rectangles = 0;
      for_each_rectangle(parameter, begin, end, [&](const TensorRectangle& rectangle) {
        ++rectangles;
        REQUIRE(rectangle.begin == at);
        const Shape& shape = rectangle.shape;
        for (int64_t row = 0; row < shape[0]; ++row)
          for (int64_t column = 0; column < shape[1]; ++column) {
            const int64_t in_tensor = (rectangle.offsets[0] + row) * rectangle.piece.tensor_shape[1] +
                                      rectangle.offsets[1] + column;
            const int64_t held =
                at + (rectangle.transposed ? column * shape[0] + row : row * shape[1] + column);
            if (expected[static_cast<size_t>(held)] != std::pair(rectangle.piece.tensor, in_tensor))
              FAIL("element " << held << " of [" << begin << ", " << end << ")");
          }
        at += shape.numel();
      });
      REQUIRE(at == end);
      REQUIRE(rectangles <= 3 * 3);
    }
}

TEST_CASE("pieces: an element is rounded by the same random bits on any rank", "[pieces]") {
  const std::string form = GENERATE("transposed", "packed", "apart");
  CAPTURE(form);
  const Parameter whole = fused(form, 0, 1);
  std::map<std::pair<std::string, int64_t>, std::pair<std::string, int64_t>> known;  // by place in a tensor
  std::set<std::pair<std::string, int64_t>> distinct;
  const auto places = expected_places(form, 0, 1);
  for (int64_t at = 0; at < whole.shape.numel(); ++at) {
    known[places[static_cast<size_t>(at)]] = place_of(whole, at);
    distinct.insert(place_of(whole, at));
  }
  CHECK(static_cast<int64_t>(distinct.size()) == whole.shape.numel());
  for (const int rank : {0, 1, 2, 3}) {
    const Parameter part = fused(form, rank, 4);
    const auto own = expected_places(form, rank, 4);
    for (int64_t at = 0; at < part.shape.numel(); ++at)
      CHECK(place_of(part, at) == known.at(own[static_cast<size_t>(at)]));
  }
}

TEST_CASE("pieces: a rank's initial values are those of the whole tensors", "[pieces][initialise]") {
  const std::string form = GENERATE("transposed", "packed", "apart");
  CAPTURE(form);
  const auto owner = make_operations("cpu");
  Operations& operations = *owner.operations;
  const auto initial = [&](const Parameter& parameter) {
    Tensor x = operations.empty(parameter.shape, Category::weights);
    initialise(parameter, 5, operations, x);
    return values(operations, x);
  };
  std::map<std::string, std::vector<float>> tensors;
  for (const auto& [name, shape, is_table, transposed, stored_rows] : tensors_of({fused(form, 0, 1)}))
    tensors[name] = initial(whole_tensor(name, shape));
  for (const int rank : {0, 1}) {
    std::vector<float> expected;
    for (const auto& [tensor, element] : expected_places(form, rank, 2))
      expected.push_back(tensors.at(tensor)[static_cast<size_t>(element)]);
    CHECK(initial(fused(form, rank, 2)) == expected);
  }
}
