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

// Executes what moves x, and waits.
void in_background(CollectiveQueue& queue, const Tensor& x, const Collective& collective) {
  queue.submit("share a matrix", collective, static_cast<int64_t>(x.bytes())).wait();
}

int64_t numel_of(const std::vector<MatrixPart>& parts) {
  int64_t count = 0;
  for (const MatrixPart& part : parts) count += part.shape.numel();
  return count;
}

}  // namespace

// What all data ranks have of this tensor rank's parts, in the order of their ranks.
Tensor SharedWork::collect_over_data(Operations& operations, const Tensor& own, const Parts& parts) const {
  int64_t all = 0;
  for (int rank = 0; rank < groups_.data->size(); ++rank) all += numel_of(parts(rank, tensor_rank()));
  Tensor collected = operations.empty({all}, own.dtype(), Category::communication);
  int64_t at = 0;
  for (int rank = 0; rank < groups_.data->size(); ++rank) {
    const int64_t count = numel_of(parts(rank, tensor_rank()));
    Tensor values = collected.rows(at, at + count);
    at += count;
    if (rank == data_rank())
      operations.copy(own, values);
    else if (count > 0)
      in_background(*groups_.data, values,
                    [values, rank](ProcessGroup& group) mutable { group.receive(values, rank); });
  }
  return collected;
}

void SharedWork::gather(Operations& operations, const Tensor& own, const Parts& parts, int to,
                        const Place& place) const {
  const int to_data = to / tensor_size(), to_tensor = to % tensor_size();
  if (data_rank() != to_data) {
    if (groups_.data_cut && own.numel() > 0)
      in_background(*groups_.data, own, [own, to_data](ProcessGroup& group) { group.send(own, to_data); });
    return;
  }
  const Tensor collected = groups_.data_cut ? collect_over_data(operations, own, parts) : own;
  if (tensor_rank() != to_tensor) {
    if (collected.numel() > 0) groups_.tensor->send(collected, to_tensor);
    return;
  }
  for (int tensor = 0; tensor < tensor_size(); ++tensor) {
    std::vector<MatrixPart> all;
    for (int data = 0; data < (groups_.data_cut ? groups_.data->size() : 1); ++data)
      for (const MatrixPart& part : parts(data, tensor)) all.push_back(part);
    Tensor values = collected;
    if (tensor != tensor_rank()) {
      values = operations.empty({numel_of(all)}, own.dtype(), Category::communication);
      if (values.numel() > 0) groups_.tensor->receive(values, tensor);
    }
    int64_t at = 0;
    for (const MatrixPart& part : all) {
      const int64_t count = part.shape.numel();
      place(part, values.rows(at, at + count).reshape(part.shape));
      at += count;
    }
  }
}

void SharedWork::broadcast(Tensor& x, int from) const {
  const int data = from / tensor_size(), tensor = from % tensor_size();
  if (groups_.tensor != nullptr && data == data_rank()) groups_.tensor->broadcast(x, tensor);
  if (groups_.data == nullptr) return;
  in_background(*groups_.data, x, [x, data](ProcessGroup& group) mutable { group.broadcast(x, data); });
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
