#include "models/quantised_weights.hpp"

#include <cmath>
#include <optional>

#include "base/error.hpp"
#include "io/half.hpp"
#include "kernels/bfloat16.hpp"
#include "kernels/host_data.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"
#include "models/stored_codes.hpp"
#include "models/weight_reader.hpp"

namespace collie {
namespace {

void round_to(DType dtype, bool is_int8, std::span<float> values) {
  for (float& value : values) {
    if (dtype == DType::bf16) {
      bfloat16 narrow{};
      store(value, &narrow);
      value = to_float(narrow);
    }
    if (is_int8) value = float_from_half(half_from_float(value));
  }
}

// The elements of a tensor in the order of its matrix [out, in].
class MatrixReader {
 public:
  MatrixReader(const WeightFolder::Place& place, const Shape& shape, bool transposed)
      : reader_(*place.file, *place.tensor) {
    if (!transposed) return;
    std::vector<float> stored(static_cast<size_t>(shape.numel()));  // [in, out]
    reader_.read(0, stored);
    in_order_ = host::transposed(stored, shape[0], shape[1]);
  }

  void read(int64_t begin, std::span<float> values) const {
    if (in_order_.empty()) return reader_.read(begin, values);
    std::copy_n(in_order_.begin() + begin, values.size(), values.begin());
  }

 private:
  TensorReader reader_;
  std::vector<float> in_order_;  // of a transposed one
};

void check_finite(const WeightFolder& folder, const std::string& tensor, const WholeQuantised& whole) {
  const int64_t scales = scale_count(whole.quantisation, whole.rows, whole.columns);
  for (int64_t i = 0; i < scales; ++i)
    if (!std::isfinite(whole.scale(i)))
      throw UserError(
          "{}: {} has numbers that are not finite{}, and cannot be quantised (quantization.kind: {}); finite "
          "numbers are wanted, or the matrix in quantization.skip",
          folder.path().string(), tensor,
          whole.quantisation.is_in_blocks() ? "" : ", or beyond float16's range",
          name(whole.quantisation.kind));
}

}  // namespace

HeldPart held_part(const Parameter& parameter) {
  HeldPart part;
  for (const Piece& piece : pieces_of(parameter)) {
    const size_t out = piece.transposed ? 1 : 0, in = 1 - out;
    part.whole_rows = piece.tensor_shape[static_cast<int>(out)];
    part.whole_columns = piece.tensor_shape[static_cast<int>(in)];
    part.runs.push_back({piece.offsets[out], piece.rows});
    part.first_column = piece.offsets[in];
  }
  part.columns = parameter.shape[1];
  return part;
}

int64_t held_bytes(const Parameter& parameter) {
  const auto account = std::make_shared<MemoryAccount>();
  const auto counting = make_meta_operations(1, account);
  const QuantisedMatrix counted =
      make_quantised_matrix(*counting, parameter.quantisation, held_part(parameter));
  return static_cast<int64_t>(account->current(Category::weights));
}

WholeQuantised read_quantised(const WeightFolder& folder, const std::string& tensor, const Shape& shape,
                              bool transposed, const Quantisation& quantisation, DType dtype,
                              const OnPieces& on_pieces) {
  const int64_t rows = shape[transposed ? 1 : 0], columns = shape[transposed ? 0 : 1];
  WholeQuantised whole;
  if (const auto stored = stored_quantisation(folder, tensor)) {
    if (*stored != quantisation)
      throw UserError("{}: {} is stored as {}, and {} is wanted", folder.path().string(), tensor,
                      in_words(*stored), in_words(quantisation));
    whole = read_stored_codes(folder, tensor, rows, columns);
  } else {
    const MatrixReader reader(place_of_tensor(folder, tensor), shape, transposed);
    whole = quantise(
        quantisation, rows, columns,
        [&](int64_t begin, std::span<float> values) {
          reader.read(begin, values);
          round_to(dtype, quantisation.kind == QuantisedKind::int8, values);
        },
        on_pieces);
  }
  check_finite(folder, tensor, whole);
  return whole;
}

void check_stored_quantisation(const std::string& path, const ModelSpec& model) {
  const WeightFolder folder(path);
  for (const Parameter& parameter : model_parameters(model)) {
    if (parameter.is_adapter) continue;
    const std::string tensor = pieces_of(parameter).front().tensor;
    const auto stored = stored_quantisation(folder, tensor);
    if (!stored || *stored == parameter.quantisation) continue;
    if (parameter.is_table)
      throw UserError(
          "{}: {} is stored as {}; embeddings and heads as codes are not supported, and numbers are wanted",
          folder.path().string(), tensor, in_words(*stored));
    throw UserError(
        "{}: {} is stored as {}, and is wanted {}; quantization must be as the folder has it",
        folder.path().string(), tensor, in_words(*stored),
        parameter.quantisation.is_there() ? "as " + in_words(parameter.quantisation) : "in numbers");
  }
}

void read_quantised(const WeightFolder& folder, const Parameter& parameter, Operations& operations,
                    QuantisedMatrix& matrix) {
  const Piece piece = pieces_of(parameter).front();
  const WholeQuantised whole = read_quantised(
      folder, piece.tensor, piece.tensor_shape, piece.transposed, parameter.quantisation, operations.dtype(),
      [&](int64_t count, int64_t length, const auto& f) { operations.for_host_pieces(count, length, f); });
  fill_quantised_matrix(operations, whole, held_part(parameter), matrix);
}

}  // namespace collie
