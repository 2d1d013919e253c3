#include "dataplane/eal_plan.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <map>
#include <set>

#include <rte_dev.h>

#include "dataplane/eal_arguments.hpp"
#include "dataplane/eal_memory.hpp"
#include "dataplane/limits.hpp"

namespace millrace::dataplane {

namespace {

using Arguments = std::vector<std::string>;
using Check = tl::expected<void, std::string>;

tl::unexpected<std::string> error(std::string sentence) {
    return tl::unexpected(std::move(sentence));
}

template <class Container>
bool contains(const Container& all, const typename Container::value_type& one) {
    return std::find(all.begin(), all.end(), one) != all.end();
}

std::string list(const std::vector<unsigned>& cpus) {
    std::string text;
    for (unsigned cpu : cpus) {
        if (!text.empty()) text += ',';
        text += std::to_string(cpu);
    }
    return text;
}

std::string_view name_of(std::string_view device) {
    return device.substr(0, device.find(','));
}

/// Of [dddd:]bb:dd.f in hexadecimal, as lspci prints it: with its domain, in lower case, as DPDK calls the
/// port. Empty for anything else.
std::string pci_name(std::string_view address) {
    static constexpr std::string_view shape = "xxxx:xx:xx.x", domain = "0000:";
    std::string name(address.size() == shape.size() - domain.size() ? domain : "");
    for (char c : address) name += char(std::tolower(static_cast<unsigned char>(c)));
    auto fits = [](char have, char want) {
        return want == 'x' ? std::isxdigit(static_cast<unsigned char>(have)) != 0 : have == want;
    };
    return std::ranges::equal(name, shape, fits) ? name : "";
}

/// "net_af_xdp0" of "net_af_xdp0,iface=edge0"; empty when it is no vdev string: the drivers' names begin so,
/// those of the kernel's interfaces do not.
std::string vdev_name(std::string_view device) {
    constexpr std::string_view word = "abcdefghijklmnopqrstuvwxyz0123456789_",
                               drivers[] = {"net_", "eth_", "virtio_user"};
    std::string_view name = name_of(device);
    bool known = std::ranges::any_of(drivers, [&](auto driver) { return name.starts_with(driver); });
    bool shaped = known && name.size() < RTE_DEV_NAME_MAX_LEN && name.find_first_not_of(word) == name.npos &&
                  device.find(' ') == device.npos;
    return std::string(shaped ? name : "");
}

bool any_pci(const EalPlan& plan) {
    return std::ranges::any_of(plan.ports, [](const PortPlan& port) { return is_pci_device(port.device); });
}

std::vector<unsigned> worker_lcores(const EalPlan& plan) {
    std::vector<unsigned> lcores;
    for (const PortPlan& port : plan.ports)
        lcores.insert(lcores.end(), port.lcores.begin(), port.lcores.end());
    return lcores;
}

Check check_lcores(const EalPlan& plan, const Machine& machine) {
    std::set<unsigned> seen;
    for (unsigned lcore : worker_lcores(plan)) {
        std::string name = "lcore " + std::to_string(lcore);
        if (lcore >= limits::lcores) {
            return error(name + " is past what DPDK counts to (" + std::to_string(limits::lcores - 1) + ")");
        }
        if (!seen.insert(lcore).second)
            return error(name + " is given twice; an lcore polls one queue of one port");
        if (!contains(machine.cpus, lcore)) {
            return error(name + " is not a CPU that this process may use; those are " + list(machine.cpus));
        }
    }
    if (plan.control_cpu && !contains(machine.cpus, *plan.control_cpu)) {
        return error("control CPU " + std::to_string(*plan.control_cpu) + " is not one of " +
                     list(machine.cpus));
    }
    return {};
}

Check check_ports(const EalPlan& plan) {
    std::set<std::string> names, interfaces;
    for (const PortPlan& port : plan.ports) {
        std::string name = ethdev_name(port.device);
        if (name.empty()) return error("a port needs a device: a PCI address or a vdev string");
        if (port.lcores.empty()) return error("port " + name + " needs at least one lcore to poll it");
        if (!names.insert(name).second)
            return error("two ports are called " + name + "; vdev names are unique");
        std::string interface = device_option(port.device, "iface");
        if (!interface.empty() && !interfaces.insert(interface).second) {
            return error("two ports use interface " + interface + "; give one port several lcores instead");
        }
    }
    return {};
}

Check check_arguments(const Arguments& given) {
    for (const std::string& argument : given) {
        const char* refusal = refusal_of(argument);
        if (refusal) return error("EAL argument " + argument + " may not be given: " + refusal);
    }
    return {};
}

/// Of devices that are opened later another process may have one yet.
Check check_nics(const EalPlan& plan, const Machine& machine) {
    for (Nic nic : machine.nics) {
        if (!plan.iova_mode.empty() && nic.open_error == EBUSY) nic.open_error = 0;
        if (std::string fault = fault_of(nic); !fault.empty()) return error(fault);
    }
    return {};
}

/// A CPU of its own for control if there is one, else the first worker's.
unsigned control_cpu(const EalPlan& plan, const Machine& machine) {
    if (plan.control_cpu) return *plan.control_cpu;
    std::vector<unsigned> workers = worker_lcores(plan);
    for (unsigned cpu : machine.cpus) {
        if (!contains(workers, cpu)) return cpu;
    }
    return machine.cpus.empty() ? 0 : machine.cpus.front();
}

/// Workers' lcores are named like their CPUs. Control's is too, unless it has to share a CPU or its number
/// is too big.
Arguments lcore_arguments(const EalPlan& plan, const Machine& machine) {
    std::vector<unsigned> workers = worker_lcores(plan);
    unsigned cpu = control_cpu(plan, machine), main = cpu;
    if (contains(workers, main) || main >= limits::lcores) {
        for (main = 0; contains(workers, main);) ++main;
    }
    std::string map = std::to_string(main) + "@" + std::to_string(cpu);
    for (unsigned lcore : workers) map += "," + std::to_string(lcore) + "@" + std::to_string(lcore);
    return {"--lcores=" + map, "--main-lcore=" + std::to_string(main)};
}

/// Where none is wanted yet EAL would take every PCI function that a driver of its own is bound to, unless it
/// is told of one that it may, here one that cannot be.
Arguments device_arguments(const EalPlan& plan) {
    bool is_later = !plan.iova_mode.empty();
    Arguments out;
    for (const PortPlan& port : plan.ports) {
        const char* option = is_pci_device(port.device) ? "--allow=" : "--vdev=";
        for (const std::string& device : port.devices()) {
            if (!is_later) out.push_back(option + device);
        }
    }
    if (!any_pci(plan)) out.push_back("--no-pci");
    if (any_pci(plan) && is_later) out.push_back("--allow=ffff:ff:1f.7");
    if (is_later) out.push_back("--iova-mode=" + plan.iova_mode);
    return out;
}

} // namespace

std::vector<std::string> PortPlan::devices() const {
    std::vector<std::string> all = {device};
    all.insert(all.end(), siblings.begin(), siblings.end());
    return all;
}

tl::expected<Arguments, std::string> eal_arguments(const EalPlan& plan, const Machine& machine) {
    Arguments given = split_eal_arguments(plan.arguments);
    for (const Check& check : {check_ports(plan), check_lcores(plan, machine), check_arguments(given),
                               check_nics(plan, machine)}) {
        if (!check) return tl::unexpected(check.error());
    }
    auto memory = memory_arguments(plan, control_cpu(plan, machine), machine, given);
    if (!memory) return memory;
    Arguments out = lcore_arguments(plan, machine);
    if (!gives(given, {"--file-prefix"})) out.push_back("--file-prefix=millrace");
    if (!gives(given, {"--log-level"})) {
        // Telemetry warns that it has no legacy socket, memif that it cannot serve other processes of ours.
        out.insert(out.end(), {"--log-level=warning", "--log-level=lib.telemetry:error",
                               "--log-level=pmd.net.memif:error"});
    }
    for (const Arguments& more : {device_arguments(plan), *memory, given}) {
        out.insert(out.end(), more.begin(), more.end());
    }
    return out;
}

bool is_pci_device(std::string_view device) {
    return !pci_name(name_of(device)).empty();
}

std::string ethdev_name(std::string_view device) {
    std::string pci = pci_name(name_of(device));
    return pci.empty() ? vdev_name(device) : pci;
}

bool is_driver(std::string_view device, std::string_view driver) {
    // Some go by a name of before DPDK 16, too: eth_af_packet.
    return device.starts_with(driver) || (device.starts_with("eth_") && driver.starts_with("net_") &&
                                          device.substr(4).starts_with(driver.substr(4)));
}

std::vector<std::string> pci_addresses(const EalPlan& plan) {
    std::vector<std::string> out;
    for (const PortPlan& port : plan.ports) {
        if (is_pci_device(port.device)) out.push_back(ethdev_name(port.device));
    }
    return out;
}

std::vector<std::string> warnings_of(const EalPlan& plan) {
    std::vector<std::string> out;
    std::map<Address, std::string> holders;
    for (const PortPlan& port : plan.ports) {
        std::string name = ethdev_name(port.device);
        for (const Address& address : port.addresses) {
            auto [holder, is_first] = holders.emplace(address, name);
            if (is_first) continue;
            out.push_back(
                "ports " + holder->second + " and " + name + " both serve " + to_string(address) +
                ": right where each has a router of its own; in one network give each port its own");
        }
    }
    return out;
}

std::string routing_interface(std::string_view device, const KernelInterface& kernel) {
    if (kernel.is_wanted()) return kernel.name;
    bool is_on_one = is_driver(device, "net_af_xdp") || is_driver(device, "net_af_packet");
    return is_on_one ? device_option(device, "iface") : "";
}

std::string driver_package(std::string_view device) {
    std::string_view name = name_of(device);
    name = name.substr(0, name.find_last_not_of("0123456789") + 1);
    if (name.starts_with("eth_")) name.remove_prefix(4);
    if (name.starts_with("net_")) name.remove_prefix(4);
    std::string package = "librte-net-" + std::string(name == "virtio_user" ? "virtio" : name) + "23";
    std::ranges::replace(package, '_', '-');
    return package;
}

std::string device_option(std::string_view device, std::string_view key) {
    std::string wanted = "," + std::string(key) + "=";
    auto at = device.find(wanted);
    if (at == std::string_view::npos) return {};
    device.remove_prefix(at + wanted.size());
    return std::string(device.substr(0, device.find(',')));
}

std::string without_option(std::string_view device, std::string_view key) {
    auto at = device.find("," + std::string(key) + "=");
    if (at == device.npos) return std::string(device);
    auto end = std::min(device.find(',', at + 1), device.size());
    return std::string(device.substr(0, at)) + std::string(device.substr(end));
}

} // namespace millrace::dataplane
