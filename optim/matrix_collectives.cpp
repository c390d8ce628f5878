#include "optim/matrix_collectives.hpp"

#include <functional>

#include "base/divide.hpp"

namespace collie {
namespace {

using Collective = std::function<void(ProcessGroup&)>;
using Run = std::function<void(const Collective&, int64_t bytes)>;

// Calls f(group's size, run) for each group; run(collective, bytes) executes a collective of it.
void for_each_group(const MatrixGroups& groups, const std::function<void(int size, const Run&)>& f) {
  if (groups.tensor != nullptr)
    f(groups.tensor->size(), [&](const Collective& collective, int64_t) { collective(*groups.tensor); });
  if (groups.data_cut)
    f(groups.data->size(), [&](const Collective& collective, int64_t bytes) {
      groups.data->submit("combine lines", collective, bytes).wait();
    });
}

}  // namespace

void SharedWork::sum(Tensor& x) const {
  all_reduce_sum(groups_, x);
}

void SharedWork::broadcast(Tensor& x, int from) const {
  const int data = from / tensor_size(), tensor = from % tensor_size();
  if (groups_.tensor != nullptr && data == data_rank()) groups_.tensor->broadcast(x, tensor);
  if (groups_.data == nullptr) return;
  groups_.data
      ->submit(
          "share a matrix", [x, data](ProcessGroup& group) mutable { group.broadcast(x, data); },
          static_cast<int64_t>(x.bytes()))
      .wait();
}

void all_reduce_sum(const MatrixGroups& groups, Tensor& x) {
  for_each_group(groups, [&](int, const Run& run) {
    run([x](ProcessGroup& group) mutable { group.all_reduce_sum(x); }, static_cast<int64_t>(x.bytes()));
  });
}

// Each rank takes the maxima of its share of the lines, and everybody gets the shares.
void all_reduce_max(Operations& operations, const MatrixGroups& groups, Tensor& x) {
  for_each_group(groups, [&](int size, const Run& run) {
    const int64_t share = divide_up(x.numel(), size);
    const auto zeros = [&](const Shape& shape) {
      Tensor values = operations.empty(shape, x.dtype(), Category::communication);
      operations.fill(values, 0);
      return values;
    };
    Tensor all = zeros({size, share}), received = zeros({size, share}), own = zeros({share});
    Tensor values = all.reshape({size * share}).rows(0, x.numel());
    operations.copy(x, values);
    const auto bytes = static_cast<int64_t>(all.bytes());
    run([all, received](ProcessGroup& group) mutable { group.all_to_all(all, received); }, bytes);
    const MatrixTile tile{.values = received, .column_line = 0, .column_elements = size};
    operations.line_maxima({&tile, 1}, {}, own);
    run(
        [own, all](ProcessGroup& group) mutable {
          Tensor flat = all.reshape({all.numel()});
          group.all_gather(own, flat);
        },
        bytes);
    operations.copy(values, x);
  });
}

}  // namespace collie
