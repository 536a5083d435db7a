internal import DiskImages
internal import Fleets
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// `plan --output json`.
struct PlanReport: Encodable {
    struct Item: Encodable {
        struct Layer: Encodable {
            let path: String
            let layout: String
        }

        let role: String
        let name: String
        let sources: [String]
        let target: String
        let base: String?
        let chain: [Layer]?
        let virtualSize: UInt64?
        let state: String
        let bytesToRead: UInt64
        let bytesToWrite: UInt64
        let problem: String?
    }

    struct Shared: Encodable {
        let name: String
        let images: Int
    }

    struct Totals: Encodable {
        let items: Int
        let bases: Int
        let upToDate: Int
        let toDo: Int
        let held: Int
        let leftAlone: Int
        let wrong: Int
        let bytesToRead: UInt64
        let bytesToWrite: UInt64
        let bytesFree: UInt64?
    }

    let pipeline: String
    let operation: String
    let targetDirectory: String
    let items: [Item]
    let shared: [Shared]
    let totals: Totals

    init(_ plan: FleetPlan, _ outlooks: [FleetOutlook], _ summary: PlanSummary) {
        pipeline = plan.spec.file.description
        operation = plan.spec.operation.rawValue
        targetDirectory = plan.spec.target.directory.description
        items = outlooks.map { outlook in
            let item = plan.items[outlook.index]
            return Item(
                role: item.role.rawValue, name: item.name, sources: item.sources.map(\.description),
                target: item.target.description,
                base: item.base.map { plan.items[$0].target.description },
                chain: item.chain?.layers.map { Item.Layer(path: $0.path.description, layout: $0.layout) },
                virtualSize: item.chain?.guestLength, state: FleetWords.key(of: outlook),
                bytesToRead: outlook.read,
                bytesToWrite: plan.spec.operation == .verify ? 0 : outlook.read,
                problem: outlook.problem?.description)
        }
        shared = summary.shared.map { Shared(name: $0.name, images: $0.images) }
        totals = Totals(
            items: summary.items, bases: summary.bases, upToDate: summary.upToDate, toDo: summary.toDo,
            held: summary.held,
            leftAlone: summary.leftAlone,
            wrong: summary.wrong, bytesToRead: summary.toRead, bytesToWrite: summary.toWrite,
            bytesFree: summary.free)
    }
}
