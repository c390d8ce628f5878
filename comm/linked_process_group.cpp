#include "comm/linked_process_group.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/error.hpp"
#include "comm/call_header.hpp"
#include "comm/exchange.hpp"
#include "comm/rank_order_sum.hpp"

namespace collie {
namespace {

using comm::Call;
using comm::Operation;
using comm::Patience;

// If what a call moves to or from one other rank fits, it travels with its header: a second trip costs more
// than copying it.
constexpr size_t box_bytes = 16 * 1024;
constexpr size_t small_bytes = box_bytes - comm::header_bytes;

// Bytes as a tensor, so that they are accounted for.
Tensor scratch(size_t bytes, const std::shared_ptr<MemoryAccount>& account) {
  const auto words = static_cast<int64_t>((bytes + sizeof(int32_t) - 1) / sizeof(int32_t));
  return Tensor::host({words}, DType::i32, account, Category::communication);
}

std::byte* start_of(const Tensor& tensor) {
  return static_cast<std::byte*>(tensor.raw());
}

struct Span {
  std::byte* data = nullptr;
  size_t bytes = 0;
};

class LinkedGroup : public ProcessGroup {
 public:
  LinkedGroup(std::shared_ptr<comm::ByteLink> link, const std::vector<int>& members, uint32_t number,
              const std::shared_ptr<MemoryAccount>& account);

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }

  void all_reduce_sum(Tensor& x) override { collective(comm::all_reduce_call(x), {x}); }
  void reduce_scatter_sum(const Tensor& in, Tensor& out) override {
    collective(comm::reduce_scatter_call(size(), in, out), {in, out});
  }
  void all_gather(const Tensor& in, Tensor& out) override {
    collective(comm::all_gather_call(size(), in, out), {in, out});
  }
  void broadcast(Tensor& x, int root) override { collective(comm::broadcast_call(size(), x, root), {x}); }
  void all_to_all(const Tensor& in, Tensor& out) override {
    collective(comm::all_to_all_call(size(), in, out), {in, out});
  }
  void send(const Tensor& x, int destination) override {
    transfer(comm::send_call(size(), rank_, x, destination), x);
  }
  void receive(Tensor& x, int source) override { transfer(comm::receive_call(size(), rank_, x, source), x); }
  void barrier() override { collective({}, {}); }

  void check() override { link_->check(); }
  void abort(const std::string& cause) override { link_->abort(cause); }

 private:
  struct Peer {
    int link_rank = 0;
    std::byte *inbox = nullptr, *outbox = nullptr;  // [box_bytes] each; null for this rank itself
    std::unique_ptr<comm::Transfer> header;         // posted ahead, so that the next header need not wait
  };

  void collective(const Call& call, std::vector<Tensor> tensors);
  void transfer(const Call& call, const Tensor& tensor);
  void run(const Call& call, const std::vector<int>& others, std::vector<Tensor> tensors);

  void expect_header(int other);
  std::unique_ptr<comm::Transfer> send_header(const Call& call, int other);
  void check_header(const Call& call, int other);

  Span outgoing(const Call& call, int other) const;
  Span incoming(const Call& call, int other) const;
  void take_small(const Call& call, const std::vector<int>& others);
  void exchange_large(const Call& call, const std::vector<int>& others, std::vector<Tensor> tensors);
  void reduce_large(const Call& call, std::vector<Tensor> tensors);
  void gather_slices(const Call& call, const std::shared_ptr<const void>& owner);
  Span slice(const Call& call, int other) const;

  Peer& peer(int other) { return peers_[static_cast<size_t>(other)]; }
  int link_rank(int other) const { return members_[static_cast<size_t>(other)]; }
  uint64_t header_tag() const { return 2 * uint64_t{number_}; }
  uint64_t data_tag() const { return header_tag() + 1; }

  const std::shared_ptr<comm::ByteLink> link_;
  const std::vector<int> members_;
  const uint32_t number_;
  const std::shared_ptr<MemoryAccount> account_;
  int rank_ = -1;
  std::vector<int> others_;  // rank + 1, rank + 2, ..., so that not all ranks begin with the same one
  std::shared_ptr<const Tensor> boxes_;
  Tensor ring_;  // [other ranks, exchange_window pieces], made for the first large sum
  std::vector<Peer> peers_;
};

LinkedGroup::LinkedGroup(std::shared_ptr<comm::ByteLink> link, const std::vector<int>& members,
                         uint32_t number, const std::shared_ptr<MemoryAccount>& account)
    : link_(std::move(link)), members_(members), number_(number), account_(account), peers_(members.size()) {
  std::vector<int> sorted = members;
  std::sort(sorted.begin(), sorted.end());
  const bool different = std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
  COLLIE_ASSERT(!sorted.empty() && different && sorted.front() >= 0 && sorted.back() < link_->size(),
                "a group's members must be different ranks of its link of {}", link_->size());
  COLLIE_ASSERT(number < uint32_t{1} << 31, "group number {} is too large", number);
  COLLIE_ASSERT(link_->most_bytes() >= box_bytes, "a link's messages of {} bytes are too short",
                link_->most_bytes());
  const auto self = std::find(members.begin(), members.end(), link_->rank());
  COLLIE_ASSERT(self != members.end(), "rank {} of the link is not a member of the group", link_->rank());
  rank_ = static_cast<int>(self - members.begin());
  for (int i = 1; i < size(); ++i) others_.push_back((rank_ + i) % size());
  boxes_ = std::make_shared<const Tensor>(scratch(2 * box_bytes * others_.size(), account_));
  std::byte* place = start_of(*boxes_);
  for (const int other : others_) {
    peer(other).inbox = place;
    peer(other).outbox = place + box_bytes;
    place += 2 * box_bytes;
    expect_header(other);
  }
}

void LinkedGroup::collective(const Call& call, std::vector<Tensor> tensors) {
  check_on_host(call);
  run(call, others_, std::move(tensors));
}

void LinkedGroup::transfer(const Call& call, const Tensor& tensor) {
  check_on_host(call);
  run(call, {call.peer}, {tensor});
}

void LinkedGroup::run(const Call& call, const std::vector<int>& others, std::vector<Tensor> tensors) {
  link_->check();
  std::vector<std::unique_ptr<comm::Transfer>> sends;
  for (const int other : others) sends.push_back(send_header(call, other));
  for (const int other : others) check_header(call, other);
  if (call.part_bytes() <= small_bytes)
    take_small(call, others);
  else
    exchange_large(call, others, std::move(tensors));
  for (const auto& send : sends) send->wait(Patience::endless);
  for (const int other : others) expect_header(other);
}

void LinkedGroup::expect_header(int other) {
  Peer& from = peer(other);
  from.header = link_->receive(link_rank(other), header_tag(), {from.inbox, box_bytes}, boxes_);
}

std::unique_ptr<comm::Transfer> LinkedGroup::send_header(const Call& call, int other) {
  std::byte* const box = peer(other).outbox;
  comm::write_header(call, box);
  const Span data = outgoing(call, other);
  const size_t with_header = data.bytes <= small_bytes ? data.bytes : 0;
  if (with_header > 0) std::memcpy(box + comm::header_bytes, data.data, with_header);
  return link_->send(link_rank(other), header_tag(), {box, comm::header_bytes + with_header}, boxes_);
}

void LinkedGroup::check_header(const Call& call, int other) {
  peer(other).header->wait(Patience::endless);
  const std::optional<Call> theirs = comm::read_header(peer(other).inbox);
  if (theirs && (call.is_transfer() ? comm::opposite(call, *theirs) : comm::agree(call, *theirs))) return;
  // The first failure counts, which may be what another rank has found.
  link_->fail({false, theirs ? comm::disagreement(rank_, call, other, *theirs)
                             : fmt::format("process group: what rank {} sent is no call", other)});
  link_->check();
}

// These give the data that this rank sends to another, and the place for the data that it gets back. Sums
// have no such place.
Span LinkedGroup::outgoing(const Call& call, int other) const {
  std::byte* const in = const_cast<std::byte*>(call.in);  // it is only read
  const size_t bytes = call.part_bytes();
  switch (call.operation) {
    case Operation::all_reduce_sum:
    case Operation::all_gather:
    case Operation::send:
      return {in, bytes};
    case Operation::reduce_scatter_sum:
    case Operation::all_to_all:
      return {in + static_cast<size_t>(other) * bytes, bytes};
    case Operation::broadcast:
      return call.peer == rank_ ? Span{in, bytes} : Span{};
    default:
      return {};
  }
}

Span LinkedGroup::incoming(const Call& call, int other) const {
  const size_t bytes = call.part_bytes();
  switch (call.operation) {
    case Operation::all_gather:
    case Operation::all_to_all:
      return {call.out + static_cast<size_t>(other) * bytes, bytes};
    case Operation::receive:
      return {call.out, bytes};
    case Operation::broadcast:
      return call.peer == other ? Span{call.out, bytes} : Span{};
    default:
      return {};
  }
}

bool is_sum(const Call& call) {
  return call.operation == Operation::all_reduce_sum || call.operation == Operation::reduce_scatter_sum;
}

void copy(const Span& to, const std::byte* from) {
  if (to.bytes > 0 && to.data != from) std::memcpy(to.data, from, to.bytes);
}

// The data have come with the headers.
void LinkedGroup::take_small(const Call& call, const std::vector<int>& others) {
  if (is_sum(call)) {
    std::vector<const std::byte*> in(peers_.size());
    for (const int other : others) in[static_cast<size_t>(other)] = peer(other).inbox + comm::header_bytes;
    in[static_cast<size_t>(rank_)] = outgoing(call, rank_).data;
    comm::sum_in_rank_order(call.dtype, in, {&call.out, 1}, 0, call.part);
    return;
  }
  for (const int other : others) copy(incoming(call, other), peer(other).inbox + comm::header_bytes);
  if (!call.is_transfer()) copy(incoming(call, rank_), outgoing(call, rank_).data);
}

void LinkedGroup::exchange_large(const Call& call, const std::vector<int>& others,
                                 std::vector<Tensor> tensors) {
  if (is_sum(call)) return reduce_large(call, std::move(tensors));
  std::vector<comm::Outgoing> out;
  std::vector<comm::Incoming> in;
  for (const int other : others) {
    const Span to = outgoing(call, other), from = incoming(call, other);
    if (to.bytes > 0) out.push_back({link_rank(other), to.data, to.bytes});
    if (from.bytes > 0) in.push_back({link_rank(other), from.data, from.bytes});
  }
  comm::exchange(*link_, data_tag(), out, in,
                 std::make_shared<const std::vector<Tensor>>(std::move(tensors)));
  if (!call.is_transfer()) copy(incoming(call, rank_), outgoing(call, rank_).data);
}

// The part of the sum within `in` that rank `other` computes.
Span LinkedGroup::slice(const Call& call, int other) const {
  std::byte* const in = const_cast<std::byte*>(call.in);
  if (call.operation == Operation::reduce_scatter_sum)
    return {in + static_cast<size_t>(other) * call.part_bytes(), call.part_bytes()};
  constexpr int64_t line = 16;  // elements, so that slices begin with a cache line
  const int64_t length = (call.part / size() + line) / line * line;
  const int64_t begin = std::min(call.part, other * length), end = std::min(call.part, begin + length);
  const size_t element = size_of(call.dtype);
  return {in + static_cast<size_t>(begin) * element, static_cast<size_t>(end - begin) * element};
}

// Every rank gets all others' contributions to its slice, and sums them as they come.
void LinkedGroup::reduce_large(const Call& call, std::vector<Tensor> tensors) {
  const size_t step = link_->most_bytes(), ring_bytes = comm::exchange_window * step;
  if (!ring_.defined() && size() > 1) ring_ = scratch(others_.size() * ring_bytes, account_);
  tensors.push_back(ring_);
  const auto owner = std::make_shared<const std::vector<Tensor>>(std::move(tensors));
  const Span own = slice(call, rank_);
  std::byte* const target = call.operation == Operation::reduce_scatter_sum ? call.out : own.data;

  std::vector<comm::Outgoing> out;
  std::vector<comm::Incoming> in;
  std::vector<std::byte*> ring(peers_.size());
  for (const int other : others_) {
    const Span to = slice(call, other);
    ring[static_cast<size_t>(other)] = start_of(ring_) + in.size() * ring_bytes;
    out.push_back({link_rank(other), to.data, to.bytes});
    in.push_back({link_rank(other), ring[static_cast<size_t>(other)], own.bytes, true});
  }
  const auto sum = [&](size_t begin, size_t end, size_t slot) {
    std::vector<const std::byte*> parts;
    for (int other = 0; other < size(); ++other)
      parts.push_back(other == rank_ ? own.data + begin : ring[static_cast<size_t>(other)] + slot * step);
    std::byte* const to = target + begin;
    comm::sum_in_rank_order(call.dtype, parts, {&to, 1}, 0,
                            static_cast<int64_t>((end - begin) / size_of(call.dtype)));
  };
  comm::exchange(*link_, data_tag(), out, in, owner, sum);
  if (size() == 1) sum(0, own.bytes, 0);
  if (call.operation == Operation::all_reduce_sum) gather_slices(call, owner);
}

void LinkedGroup::gather_slices(const Call& call, const std::shared_ptr<const void>& owner) {
  const Span own = slice(call, rank_);
  std::vector<comm::Outgoing> out;
  std::vector<comm::Incoming> in;
  for (const int other : others_) {
    const Span from = slice(call, other);
    out.push_back({link_rank(other), own.data, own.bytes});
    in.push_back({link_rank(other), from.data, from.bytes});
  }
  comm::exchange(*link_, data_tag(), out, in, owner);
}

}  // namespace

std::shared_ptr<ProcessGroup> make_linked_group(std::shared_ptr<comm::ByteLink> link,
                                                const std::vector<int>& members, uint32_t number,
                                                const std::shared_ptr<MemoryAccount>& account) {
  COLLIE_ASSERT(link != nullptr, "a linked group needs a link");
  return std::make_shared<LinkedGroup>(std::move(link), members, number, account);
}

}  // namespace collie
