// Groups of tensors on an emulated device.
#include "tests/comm/implementations.hpp"

#include "comm/nccl/nccl_group.hpp"
#include "tests/devices/nccl_double.hpp"
#include "tests/devices/uploaded_group.hpp"

namespace collie::test {
namespace {

// Rank `rank`'s of all groups: streams of an emulated device are threads, which take long to make.
std::shared_ptr<RankDevice> device_of(int rank) {
  static std::vector<std::shared_ptr<RankDevice>> devices;
  while (static_cast<int>(devices.size()) <= rank) devices.push_back(std::make_shared<RankDevice>());
  return devices[static_cast<size_t>(rank)];
}

Group make_on_one_device(int size) {
  std::vector<std::shared_ptr<DeviceSlot>> slots;
  for (int rank = 0; rank < size; ++rank)
    slots.push_back(std::make_shared<DeviceSlot>(DeviceSlot{device_of(rank)->queue}));
  Group ends = make_device_group(slots);
  for (int rank = 0; rank < size; ++rank) {
    auto& end = ends[static_cast<size_t>(rank)];
    end = make_uploaded_group(std::move(end), device_of(rank));
  }
  return ends;
}

// A device for each rank, and for each group: two groups' collectives on one stream may wait for each other.
Group make_over_nccl(int size) {
  const Group hosts = make_in_process_group(size);
  Group ends(static_cast<size_t>(size));
  const auto thrown = run_ranks(size, [&](int rank) {
    const auto at = static_cast<size_t>(rank);
    const auto device = std::make_shared<RankDevice>(rank);
    const auto end =
        make_nccl_group(nccl_double(), hosts[at], device->queue,
                        {"test group", NcclSums::in_rank_order, std::make_shared<MemoryAccount>()});
    end->connect();
    ends[at] = make_uploaded_group(end, device);
  });
  for (const auto& each : thrown)
    if (each) std::rethrow_exception(each);
  return ends;
}

}  // namespace

std::vector<Implementation> implementations() {
  return {{"in-process on one device", make_on_one_device}, {"NCCL's double", make_over_nccl, 16, false}};
}

}  // namespace collie::test
