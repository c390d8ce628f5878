// Codes of a folder's matrices: made of its numbers, or taken as they are, cut among ranks, and as numbers
// again.
#include "models/quantised_weights.hpp"

#include "base/sha256.hpp"
#include "models/dequantised_source.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"
#include "models/stored_codes.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/temporary_folder.hpp"
#include "tests/models/golden.hpp"

namespace collie::test {
namespace {

const std::vector<std::string> quantised_cases = {"nf4_llama", "nf4_gpt2", "fp4_llama", "int8_llama",
                                                  "int8_qwen2"};

struct QuantisedCase {
  explicit QuantisedCase(const std::string& name)
      : folder(golden_folder + "qlora/" + name), golden(read_json(folder + "/golden.json")) {
    base = golden_folder + golden["base"].get<std::string>();
    model = load_model_config(base);
    const auto kind = golden["kind"].get<std::string>();
    model.quantisation = {kind == "nf4"   ? QuantisedKind::nf4
                          : kind == "fp4" ? QuantisedKind::fp4
                                          : QuantisedKind::int8,
                          golden["double_quant"].get<bool>(), 64};
    model.not_quantised = golden["skip"].get<std::vector<std::string>>();
  }

  std::string folder, base;
  nlohmann::json golden;
  ModelSpec model;
};

WholeQuantised whole_of(const std::string& folder, const Parameter& parameter) {
  const Piece piece = pieces_of(parameter).front();
  return read_quantised(WeightFolder(folder), piece.tensor, piece.tensor_shape, piece.transposed,
                        parameter.quantisation, DType::f32, [](int64_t count, int64_t length, const auto& f) {
                          for (int64_t first = 0; first < count; first += length)
                            f(first, std::min(count, first + length));
                        });
}

}  // namespace

TEST_CASE("codes of a folder of numbers, and those of a quantised folder, are transformers'",
          "[quantised][golden]") {
  const QuantisedCase each(GENERATE(from_range(quantised_cases)));
  CAPTURE(each.folder);
  CHECK(check_weights(each.folder + "/quantised", each.model.base()).empty());
  CHECK_NOTHROW(check_stored_quantisation(each.folder + "/quantised", each.model));
  CHECK_NOTHROW(check_stored_quantisation(each.base, each.model));
  size_t compared = 0;
  for (const Parameter& parameter : model_parameters(each.model)) {
    if (!parameter.quantisation.is_there()) continue;
    INFO(parameter.name);
    const WholeQuantised made = whole_of(each.base, parameter),
                         stored = whole_of(each.folder + "/quantised", parameter);
    CHECK(made.codes == stored.codes);
    CHECK(made.scales == stored.scales);
    CHECK(made.scale_codes == stored.scale_codes);
    CHECK(made.nested_scales == stored.nested_scales);
    CHECK(made.offset == stored.offset);
    std::vector<float> numbers(static_cast<size_t>(made.elements()));
    made.decode(0, numbers);
    CHECK(sha256_hex(std::as_bytes(std::span(numbers))) ==
          each.golden["numbers"].at(parameter.name).get<std::string>());
    ++compared;
  }
  CHECK(compared == each.golden["numbers"].size());
}

TEST_CASE("what each rank holds of a quantised matrix is its part of the whole", "[quantised]") {
  const QuantisedCase each(GENERATE(from_range(quantised_cases)));
  const int ranks = GENERATE(1, 2, 4);
  CAPTURE(each.folder, ranks);
  const auto operations = make_cpu_operations(1, std::make_shared<MemoryAccount>());
  const DequantisedSource numbers(each.folder + "/quantised", each.model, DType::f32);
  for (int rank = 0; rank < ranks; ++rank)
    for (const Parameter& parameter : stage_parameters(each.model, {0, 2, true, true}, {rank, ranks})) {
      if (!parameter.quantisation.is_there()) continue;
      INFO(parameter.name << " of rank " << rank);
      QuantisedMatrix matrix =
          make_quantised_matrix(*operations, parameter.quantisation, held_part(parameter));
      read_quantised(WeightFolder(each.base), parameter, *operations, matrix);
      Tensor tile = operations->empty(parameter.shape, Category::workspace);
      operations->dequantise(matrix, 0, 0, tile);
      std::vector<float> expected(static_cast<size_t>(tile.numel()));
      for_each_run(parameter, 0, tile.numel(), [&](const TensorRun& run) {
        fill_run(run, expected.data() + run.held, [&](std::span<float> dense) {
          const auto& slices = numbers.slices();
          const auto slice = std::find_if(slices.begin(), slices.end(),
                                          [&](const auto& of) { return of.name == run.piece.tensor; });
          numbers.read(static_cast<size_t>(slice - slices.begin()), run.first, dense);
        });
      });
      CHECK(values(*operations, tile) == expected);
    }
}

TEST_CASE("a quantised folder that is damaged, or quantised otherwise, is refused and named", "[quantised]") {
  const QuantisedCase each("nf4_llama");
  const std::string stored = each.folder + "/quantised";
  const auto refusal = [&](const std::string& folder, const ModelSpec& model) {
    try {
      check_weights(folder, model.base());
      check_stored_quantisation(folder, model);
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  ModelSpec other = each.model;
  other.quantisation.double_quant = false;
  CHECK_THAT(refusal(stored, other), contains("is stored as nf4 in blocks of 64, with double quantisation"));
  other.quantisation = {};
  CHECK_THAT(refusal(stored, other), contains("in numbers"));

  const TemporaryFolder folder;
  const auto with = [&](const std::string& from, const std::string& to) {
    std::ifstream in(stored + "/model.safetensors", std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), {});
    const size_t at = bytes.find(from);
    REQUIRE(at != std::string::npos);
    REQUIRE(from.size() == to.size());
    bytes.replace(at, from.size(), to);
    folder.write("model.safetensors", bytes);
    return folder.path().string();
  };
  CHECK_THAT(refusal(with("\"blocksize\": 64", "\"blocksize\": 65"), each.model), contains("blocks of 65"));
  CHECK_THAT(refusal(with("\"blocksize\": 64", "\"blocksize\": 32"), each.model), contains("absmax has "));
  CHECK_THAT(refusal(with("\"nested_blocksize\": 256", "\"nested_blocksize\": 128"), each.model),
             contains("nested blocks of 128; 256 is right"));
  CHECK_THAT(refusal(with("weight.quant_map", "weight.quant_mop"), each.model), contains("quant_map"));
}

TEST_CASE("numbers that cannot be quantised are refused, and the matrix named", "[quantised]") {
  const QuantisedCase each("nf4_llama");
  const TemporaryFolder folder;
  std::ifstream in(each.base + "/model.safetensors", std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  // Several matrices are among the last numbers of the file.
  for (size_t i = bytes.size() - 40000; i + 4 <= bytes.size(); i += 4)
    bytes.replace(i, 4, "\xFF\xFF\xFF\x7F", 4);
  folder.write("model.safetensors", bytes);
  bool refused = false;
  for (const Parameter& parameter : model_parameters(each.model))
    if (parameter.quantisation.is_there()) {
      try {
        whole_of(folder.path().string(), parameter);
      } catch (const UserError& error) {
        refused = true;
        CHECK_THAT(error.what(), contains(parameter.name));
        CHECK_THAT(error.what(), contains("not finite"));
      }
    }
  CHECK(refused);
}

}  // namespace collie::test
