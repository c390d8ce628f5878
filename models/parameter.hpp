// Parameters are known by their Hugging Face names, everywhere; who holds them and where their gradients go
// is behind two seams, so that sharding, offloading and fused updates are pieces and not branches.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/quantised_matrix.hpp"
#include "kernels/tensor.hpp"

namespace collie {

enum class Initialisation : uint8_t { normal, uniform, ones, zeros };

// Over which ranks a gradient of a parameter that several ranks hold must be summed, because each of them
// computes a share of it. (Beside that, the ranks of a context group, as data-parallel replicas, each compute
// their tokens' share of every gradient.)
enum class GradientShares : uint8_t {
  whole,      // none: every rank that holds it computes all of it
  tensor,     // the tensor group: each computes the share of its tokens (sequence parallelism) or heads
  key_value,  // the ranks of the tensor group that share its key/value heads
};

// Which part of triplets (models/adapters.hpp) a parameter is, if any, where it is decided in training which
// of them are kept. Triplet k has row k of A, column k of B and row k of E.
enum class TripletPart : uint8_t { none, a, b, e };

// Rows [row, row + rows) of what a rank holds of a parameter (elements, if it is a vector) are a rectangle of
// one Hugging Face tensor.
struct Piece {
  std::string tensor;  // Hugging Face name
  Shape tensor_shape;  // of the whole tensor
  int64_t row = 0, rows = 0;
  std::array<int64_t, Shape::max_rank> offsets{};  // where the rectangle begins in the tensor, in its axes
  bool transposed = false;  // of a matrix: the parameter's rows are the tensor's columns (GPT-2)
};

// A Hugging Face tensor.
struct NamedTensor {
  std::string name;
  Shape shape;
  // Whether its rows belong to tokens or positions: an embedding or a head, and no hidden matrix.
  bool is_table = false;
  bool transposed = false;  // Piece::transposed, of all of its pieces
  // The rows that the folder of the weights has, if others than shape[0] (model.resize_vocabulary); 0: as
  // many.
  int64_t stored_rows = 0;

  // In the folder of the weights.
  Shape stored_shape() const {
    std::vector<int64_t> sizes = shape.to_vector();
    if (stored_rows != 0) sizes[0] = stored_rows;
    return Shape::from(sizes);
  }
};

struct Parameter {
  std::string name;  // Hugging Face name, e.g. "model.layers.0.self_attn.q_proj.weight"; unique in a model
  Shape shape;       // of what this rank holds; matrices are [out, in]
  Initialisation initialisation = Initialisation::normal;
  double deviation = 0.02;  // of Initialisation::normal; of uniform: the bound, [-deviation, deviation)
  bool is_adapter = false;  // a part of an adapter: no folder of the whole model has it
  TripletPart triplet = TripletPart::none;
  // A second use of a tied matrix (the head's use of the embedding): an accumulator of its own, but not a
  // parameter of the model: not counted, saved, or updated. `name` is the owner's name.
  bool tied_copy = false;
  bool is_table = false;    // NamedTensor::is_table of its tensors
  int64_t stored_rows = 0;  // NamedTensor::stored_rows of its tensors
  // Whether it is trained. One that is frozen has no gradient, master or optimizer state, and is in no norm.
  bool trainable = true;
  // Whether checkpoints hold it. Those of a model with adapters hold what is trained, and not the model.
  bool is_saved = true;
  // Of a matrix that is held as codes, each rank with all of its part. It is frozen.
  Quantisation quantisation = {};

  // The layer of the stage it belongs to, from 0: the embedding, a block, the head (final norm included).
  int layer = 0;
  // Where the rows stand in Hugging Face's tensors (pieces.hpp), in order and without gaps. Empty: the
  // parameter is the whole tensor of its name.
  std::vector<Piece> pieces = {};
  GradientShares gradient_shares = GradientShares::whole;
  // Where several ranks of the tensor group hold the same rectangle, one of them stands for it: it reports
  // its norm and writes it to checkpoints.
  bool is_primary = true;
  // The first so many rows are this rank's alone, and the two members above are about the rows after them: of
  // queries, keys and values in one matrix, ranks may share keys and values.
  int64_t own_rows = 0;

  // The elements of own_rows.
  int64_t own_numel() const { return own_rows == 0 ? 0 : shape.numel() / shape[0] * own_rows; }
  // Whether this rank stands for what it holds of a row.
  bool stands_for_row(int64_t row) const { return is_primary || row < own_rows; }
  // How many elements this rank stands for: the first ones.
  int64_t primary_numel() const { return is_primary ? shape.numel() : own_numel(); }
};

// Index into the parameter list of one stage model.
using ParameterId = int;

// Where a layer gets its weights: asked for before use, released after.
class ParameterSource {
 public:
  virtual ~ParameterSource() = default;
  virtual Tensor acquire(ParameterId id) = 0;  // of the parameter's shape; valid until release
  virtual void release(ParameterId id) = 0;    // must not throw
  // Of a parameter that is quantised, which is never acquired.
  virtual const QuantisedMatrix& quantised(ParameterId id) const;

  // The layer `layer` is about to be used, and after it probably `next` (-1: not known). A source that
  // gathers or loads weights keeps those of `layer`, starts to fetch those of `next`, and may drop all
  // others.
  virtual void prefetch(int /*layer*/, int /*next*/) {}
};

// Where backward puts a parameter's gradient for one micro-batch.
struct GradientTarget {
  Tensor gradient;          // of the parameter's shape; undefined where nobody wants it (a frozen parameter)
  bool accumulate = false;  // add to what it holds, or overwrite
};

class GradientSink {
 public:
  virtual ~GradientSink() = default;
  virtual GradientTarget open(ParameterId id) = 0;
  virtual void close(ParameterId id) = 0;  // this micro-batch's contribution is complete
};

}  // namespace collie
