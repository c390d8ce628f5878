// Where what a rank holds of a parameter stands in Hugging Face's tensors. Initial values, model folders,
// checkpoints and rounding all read this one mapping, so that fused and transposed tensors (GPT-2's c_attn)
// and every cut among tensor ranks are a matter of Parameter::pieces alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/parameter.hpp"

namespace collie {

// The parameter's pieces; one that is the whole tensor if it says nothing.
std::vector<Piece> pieces_of(const Parameter& parameter);

// A parameter that is the whole of one tensor of that name and shape.
Parameter whole_tensor(const std::string& name, const Shape& shape);
// A parameter that is rows [first, first + rows) of a tensor [.., ..], or, if `transposed`, those columns of
// it.
Parameter part_of_tensor(const std::string& tensor, const Shape& tensor_shape, int64_t first, int64_t rows,
                         bool transposed);
// One parameter of the rows of `parts`, one after another, with the first one's other properties. They have
// the same other dimensions.
Parameter stacked(const std::string& name, const std::vector<Parameter>& parts);
// Keeps part `part` of `parts` equal ones along an axis of the parameter. Asserts that it has one piece and
// can be cut so.
void keep_part(Parameter& parameter, int axis, int64_t part, int64_t parts);

// The tensor that a piece of the parameter is of.
NamedTensor named_tensor_of(const Parameter& parameter, const Piece& piece);
// The distinct tensors of which a list of parameters has pieces, in the list's order. Tied
// copies have their owner's.
std::vector<NamedTensor> tensors_of(const std::vector<Parameter>& parameters);

// Elements of the flattened parameter that follow each other in a tensor.
struct TensorRun {
  const Piece& piece;
  int64_t first = 0;  // in the flattened tensor
  int64_t count = 0;
  int64_t held = 0, stride = 1;  // element i is element held + i * stride of the flattened parameter
};
// Calls visit(run) for the elements [begin, end) of the flattened parameter, each once.
void for_each_run(const Parameter& parameter, int64_t begin, int64_t end,
                  const std::function<void(const TensorRun&)>& visit);

// Has fill(dense) give a run's values, and puts them where they stand: values[0] is the run's first element.
void fill_run(const TensorRun& run, float* values, const std::function<void(std::span<float>)>& fill);

// Elements [begin, begin + shape.numel()) of the flattened parameter, which are a rectangle of a tensor.
struct TensorRectangle {
  const Piece& piece;
  int64_t begin = 0;
  std::vector<int64_t> offsets;  // in the tensor
  Shape shape;                   // in the tensor's axes
  bool transposed = false;       // in the parameter the same elements are in the order of the other axis
};
// Calls visit(rectangle) for the elements [begin, end) of the flattened parameter, in order, as few
// rectangles: of a matrix's piece, a part of a row, whole rows, a part of a row.
void for_each_rectangle(const Parameter& parameter, int64_t begin, int64_t end,
                        const std::function<void(const TensorRectangle&)>& visit);
// The transpose of a matrix in the host's memory, in memory of its own that `account` is charged for.
Tensor transposed_on_host(const Tensor& matrix, std::shared_ptr<MemoryAccount> account, Category category);

// Where [begin, end) of the flattened parameter is cut by its pieces: [begin, ..., end].
std::vector<int64_t> piece_bounds(const Parameter& parameter, int64_t begin, int64_t end);
// The piece that has an element of the flattened parameter.
Piece piece_at(const Parameter& parameter, int64_t element);
// The tensor's name, and which of its elements `element` of the flattened parameter is. Elements are counted
// in the parameter's orientation, so that those of one row are counted on from each other.
std::pair<std::string, int64_t> place_of(const Parameter& parameter, int64_t element);

}  // namespace collie
